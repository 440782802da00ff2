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

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin", "mm_projector.bin")
DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""The names that the safetensors format has for them."""


class Shape(NamedTuple):
    """What a file says of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class Tensors:
    """The weights of a checkpoint folder: one file or shards with an index, safetensors or pickled.

    Raises InputError naming the file, where one is missing, damaged or holds more than tensors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = _files(folder)
        self.shapes: dict[str, Shape] = {}
        self.file_of: dict[str, Path] = {}
        for file, wanted in self.files.items():
            found = _shapes(file)
            absent = [name for name in wanted or () if name not in found]
            if absent:
                raise InputError(f"{file} lacks {absent[0]}, which the index of {folder} says it holds")
            self.shapes |= found
            self.file_of |= dict.fromkeys(found, file)

    def of(self, file: Path) -> list[str]:
        """Names of the tensors of one file."""
        return [name for name, home in self.file_of.items() if home == file]

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        """The named tensors, one after another, mapped from their files."""
        for file in self.files:
            chosen = [name for name in names if self.file_of[name] == file]
            if chosen:
                yield from _read(file, chosen)


def _files(folder: Path) -> dict[Path, list[str] | None]:
    """Files with the names that an index promises of each, or None where there is no index."""
    for index in INDEXES:
        path = folder / index
        if path.is_file():
            try:
                homes = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
            except (json.JSONDecodeError, KeyError, UnicodeDecodeError):
                raise InputError(f"{path} is no index of shards: it has no weight_map") from None
            shards: dict[Path, list[str]] = {}
            for name, file in sorted(homes.items(), key=lambda item: str(item[1])):
                shards.setdefault(folder / Path(file).name, []).append(name)
            for file, names in shards.items():
                if not file.is_file():
                    raise InputError(f"{file} is missing: {index} says it holds {names[0]} and {len(names) - 1} more")
            return dict(shards)
    for single in SINGLES:
        if (folder / single).is_file():
            return {folder / single: None}
    raise InputError(
        f"{folder} holds no weights: none of {', '.join((*SINGLES, *INDEXES))} is there; if it is a run whose training "
        f"did not end, resume it with resume={folder}"
    )


def _shapes(file: Path) -> dict[str, Shape]:
    if file.suffix == ".safetensors":
        names = {label: dtype for dtype, label in DTYPES.items()}
        try:
            with safe_open(file, framework="pt") as opened:
                slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
                return {n: Shape(tuple(s.get_shape()), names[s.get_dtype()]) for n, s in slices.items()}
        except SafetensorError as error:
            raise InputError(f"{file} cannot be read: {error}") from None
        except KeyError as error:
            raise InputError(f"{file} holds numbers of type {error}, which are not supported") from None
    return {name: Shape(tuple(t.shape), t.dtype) for name, t in _unpickle(file).items()}


def _read(file: Path, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    if file.suffix != ".safetensors":
        state = _unpickle(file)
        yield from ((name, state[name]) for name in names)
        return
    with safe_open(file, framework="pt") as opened:
        for name in names:
            yield name, opened.get_tensor(name)


def _unpickle(file: Path) -> dict[str, Tensor]:
    """Tensors of a pickled file, which is never allowed to run code."""
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        found = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "WeightsUnpickler" in line]
        reason = found[-1] if found else str(error).splitlines()[0]
        raise InputError(f"{file} holds more than tensors and was not opened: {reason}; ask for safetensors") from None
    except (RuntimeError, EOFError, OSError) as error:
        raise InputError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise InputError(f"{file} holds no tensors by name")
    return {str(name): tensor for name, tensor in state.items()}


def write_file(path: Path, shapes: Mapping[str, Shape], tensors: Iterator[tuple[str, Tensor]]) -> None:
    """A safetensors file, written while its tensors are read; ``tensors`` come in the order of ``shapes``.

    The safetensors package wants all tensors of a file at once. The format: the length of a JSON header as 8 bytes,
    the header with type, shape and offsets of every tensor, the numbers.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        header[name] = {
            "dtype": DTYPES[shape.dtype],
            "shape": shape.shape,
            "data_offsets": [offset, offset + shape.bytes],
        }
        offset += shape.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for (name, shape), (given, tensor) in zip(shapes.items(), tensors, strict=True):
            assert name == given
            assert shape == Shape(tuple(tensor.shape), tensor.dtype), f"{name}: {shape} was promised"
            if tensor.numel():
                numbers: Any = tensor.contiguous().view(-1).view(torch.uint8).numpy()
                file.write(memoryview(numbers))


def write_index(folder: Path, files: Mapping[str, Mapping[str, Shape]]) -> None:
    """The index that says which shard holds what."""
    homes = {name: file for file, shapes in files.items() for name in shapes}
    size = sum(shape.bytes for shapes in files.values() for shape in shapes.values())
    content = {"metadata": {"total_size": size}, "weight_map": homes}
    (folder / INDEXES[0]).write_text(json.dumps(content, indent=1), encoding="utf-8")
