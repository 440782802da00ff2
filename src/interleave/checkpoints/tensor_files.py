"""Weights in files, tensor by tensor: the only place that opens safetensors and pickled checkpoints.

Nothing here holds more than one tensor at a time, except a pickled file, which is mapped as a whole.
"""

import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core.errors import InputError
from ..interfaces.stored_weights import StoredTensor

INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin", "mm_projector.bin")
"""Names of the only weight file of a folder, in the order in which they are looked for."""
DTYPE_LABELS = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""The names that the safetensors format has for types."""
DTYPES = {label: dtype for dtype, label in DTYPE_LABELS.items()}


class TensorSpec(NamedTuple):
    """What a file says of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class Tensors:
    """The weights of a checkpoint folder: one file, or shards with an index; safetensors or pickled.

    folder: where the files lie. Raises InputError naming the file, where one is missing, damaged or holds more than
    tensors.

    files: the weight files, each with the names that an index promises of it, or None without an index.
    specs: shape and type of every tensor by its name.
    file_of: the file of every tensor by its name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = _find_files(folder)
        self.specs: dict[str, TensorSpec] = {}
        self.file_of: dict[str, Path] = {}
        for file, promised in self.files.items():
            found = _read_specs(file)
            absent = [name for name in promised or () if name not in found]
            if absent:
                raise InputError(f"{file} lacks {absent[0]}, which the index of {folder} says it holds")
            # a name that stands in two shards, which no writer makes, is read from the later one
            self.specs |= found
            self.file_of |= dict.fromkeys(found, file)

    def names_in(self, file: Path) -> list[str]:
        """Names of the tensors of one file."""
        return [name for name, home in self.file_of.items() if home == file]

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        """The named tensors one after another, mapped from their files; file by file, in the order of ``names``."""
        for file in self.files:
            chosen = [name for name in names if self.file_of[name] == file]
            if chosen:
                yield from _read_tensors(file, chosen)


def _find_files(folder: Path) -> dict[Path, list[str] | None]:
    """Weight files with the names that an index promises of each, or None where there is no index."""
    # an index decides where there is one
    for index_name in INDEX_FILES:
        if (folder / index_name).is_file():
            return dict(_read_index(folder / index_name))
    for file_name in WEIGHT_FILES:
        if (folder / file_name).is_file():
            return {folder / file_name: None}
    raise InputError(
        f"{folder} holds no weights: none of {', '.join((*WEIGHT_FILES, *INDEX_FILES))} is there; if it is a run whose "
        f"training did not end, resume it with resume={folder}"
    )


def _read_index(path: Path) -> dict[Path, list[str]]:
    """Shards in the order of their names, with the names of their tensors. Raises InputError where one is missing."""
    try:
        file_names: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (json.JSONDecodeError, KeyError, UnicodeDecodeError):
        raise InputError(f"{path} is no index of shards: it has no weight_map") from None
    shards: dict[Path, list[str]] = {}
    for name, file_name in sorted(file_names.items(), key=lambda item: str(item[1])):
        # the name alone: an index cannot point outside of its folder
        shards.setdefault(path.with_name(Path(file_name).name), []).append(name)
    for file, names in shards.items():
        if not file.is_file():
            raise InputError(f"{file} is missing: {path.name} says it holds {names[0]} and {len(names) - 1} more")
    return shards


def _read_specs(file: Path) -> dict[str, TensorSpec]:
    """Shape and type of every tensor in ``file``. Raises InputError where it cannot be read."""
    if file.suffix != ".safetensors":
        return {name: TensorSpec(tuple(tensor.shape), tensor.dtype) for name, tensor in _unpickle(file).items()}
    specs: dict[str, TensorSpec] = {}
    try:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118, it is no mapping
                entry = opened.get_slice(name)  # reads the header alone
                specs[name] = TensorSpec(tuple(entry.get_shape()), DTYPES[entry.get_dtype()])
    except SafetensorError as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    except KeyError as error:
        raise InputError(f"{file} holds numbers of type {error}, which are not supported") from None
    return specs


def _read_tensors(file: Path, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    if file.suffix != ".safetensors":
        state = _unpickle(file)  # mapped, so that only what is used is read
        for name in names:
            yield name, state[name]
        return
    with safe_open(file, framework="pt") as opened:
        for name in names:
            yield name, opened.get_tensor(name)


class StoredTensors:
    """Reads single tensors, or regions of them, from any number of files, which it opens once each."""

    def __init__(self) -> None:
        self._opened: dict[Path, Any] = {}  # safetensors' handles, which no type describes, or mapped tensors by name

    def read(self, place: StoredTensor, region: tuple[slice, ...] = ()) -> Tensor:
        """The part of a tensor that ``region`` cuts out of it, and no more of the file; all of it for ``()``."""
        if place.new_rows is None:
            return self._stored(place, region)
        rows = self._num_rows(place)  # in the file
        every = slice(0, rows + len(place.new_rows))
        wanted, *columns = region or (every,)
        stored = self._stored(place, (slice(min(wanted.start, rows), min(wanted.stop, rows)), *columns))
        new = place.new_rows[max(wanted.start - rows, 0) : max(wanted.stop - rows, 0)]
        return torch.cat([stored, new[(slice(None), *columns)].to(stored)])

    def _stored(self, place: StoredTensor, region: tuple[slice, ...]) -> Tensor:
        opened = self._open(place.file)
        if isinstance(opened, dict):
            mapped: Tensor = opened[place.name]
            return mapped[region] if region else mapped
        tensor: Tensor = opened.get_slice(place.name)[region] if region else opened.get_tensor(place.name)
        return tensor

    def _num_rows(self, place: StoredTensor) -> int:
        opened = self._open(place.file)
        shape = opened[place.name].shape if isinstance(opened, dict) else opened.get_slice(place.name).get_shape()
        return int(shape[0])

    def _open(self, file: Path) -> Any:
        if file not in self._opened:
            is_pickled = file.suffix != ".safetensors"
            self._opened[file] = _unpickle(file) if is_pickled else safe_open(file, framework="pt")
        return self._opened[file]


def _unpickle(file: Path) -> dict[str, Tensor]:
    """The tensors of a pickled file, which is never allowed to run code. Raises InputError."""
    try:
        # the older format, which is no zip file, cannot be mapped
        state: object = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{file} holds more than tensors and was not opened: {_forbidden_object(error)}; ask for safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError) as error:
        raise InputError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{file} holds no tensors by name")
    return {str(name): tensor for name, tensor in state.items()}


def _forbidden_object(error: pickle.UnpicklingError) -> str:
    """The line of torch's long message that names what a pickled file holds beside tensors."""
    lines = [line.strip() for line in str(error).splitlines()]
    naming = [line for line in lines if "GLOBAL" in line or "WeightsUnpickler" in line]
    return naming[-1] if naming else str(error).splitlines()[0]
