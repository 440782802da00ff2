"""Tensors into safetensors files, one at a time, and the index of several files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from .tensor_files import DTYPE_LABELS, INDEX_FILES, WEIGHT_FILES, TensorSpec


class HeaderEntry(TypedDict):
    """One tensor in the header of a safetensors file; offsets are in bytes, from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def write_file(path: Path, specs: Mapping[str, TensorSpec], tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Write a safetensors file while its tensors are read; the safetensors package wants all of a file at once.

    specs: what the file will hold, by name. tensors: (name, tensor) pairs in the order of ``specs``.

    The format: the length of a JSON header as 8 bytes, the header with type, shape and offsets of every tensor, padded
    with spaces to a multiple of 8 bytes, then the numbers.
    """
    header = _header(specs)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for (name, spec), (given_name, tensor) in zip(specs.items(), tensors, strict=True):
            assert name == given_name
            assert spec == TensorSpec(tuple(tensor.shape), tensor.dtype), f"{name}: {spec} was promised"
            if tensor.numel():  # an empty array has no memory to view
                numbers = tensor.contiguous().view(-1).view(torch.uint8).numpy()  # (bytes,) uint8
                file.write(numbers.data)


def _header(specs: Mapping[str, TensorSpec]) -> bytes:
    entries: dict[str, HeaderEntry | dict[str, str]] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, spec in specs.items():
        end = offset + spec.num_bytes  # tensors stand one behind another without a gap
        entries[name] = {"dtype": DTYPE_LABELS[spec.dtype], "shape": spec.shape, "data_offsets": (offset, end)}
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def shard_names(count: int) -> list[str]:
    """The names that Transformers looks for, of ``count`` files that hold the weights together."""
    if count == 1:
        return [WEIGHT_FILES[0]]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def in_shards(specs: Mapping[str, TensorSpec], max_bytes: int) -> dict[str, dict[str, TensorSpec]]:
    """Name of each file -> its tensors, in the order of ``specs``: one file where they fit into ``max_bytes``, else as
    few as their order allows. A tensor larger than that has a file of its own."""
    shards: list[dict[str, TensorSpec]] = [{}]
    num_bytes = 0
    for name, spec in specs.items():
        if shards[-1] and num_bytes + spec.num_bytes > max_bytes:
            shards.append({})
            num_bytes = 0
        shards[-1][name] = spec
        num_bytes += spec.num_bytes
    return dict(zip(shard_names(len(shards)), shards, strict=True))


def write_index(folder: Path, files: Mapping[str, Mapping[str, TensorSpec]]) -> None:
    """Write the index that says which shard holds what. files: name of each shard -> its tensors."""
    file_of: dict[str, str] = {}
    total_size = 0  # bytes of all tensors, without headers
    for file_name, specs in files.items():
        for name, spec in specs.items():
            file_of[name] = file_name
            total_size += spec.num_bytes
    content = {"metadata": {"total_size": total_size}, "weight_map": file_of}
    (folder / INDEX_FILES[0]).write_text(json.dumps(content, indent=1), encoding="utf-8")
