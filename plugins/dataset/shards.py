"""Streaming shards, as ``interleave data pack`` writes them."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from interleave import BadSample, Dataset, InputError, Media, Message, Note, Sample, datasets

from .base.object_stores import failures


@datasets.register("shards")
class Shards(Dataset):
    """Shards in a local folder, or in a store such as s3://bucket/folder, of which only what is read is fetched.

    path: the folder. parts: names of its sub-folders, each a source of its own; null is all that lie there, which a
    store does not tell. cache: a folder for fetched shards; null leaves it to litdata. storage: options of the store,
    such as {endpoint_url: https://...}. weights: how often an epoch reads each sample of a part.
    """

    def __init__(
        self,
        path: str,
        parts: list[str] | None = None,
        cache: str | None = None,
        storage: dict[str, Any] | None = None,
        weights: dict[str, float] | None = None,
    ) -> None:
        self.path, self.cache, self.storage, self.weights = path, cache, storage or {}, weights or {}
        inside = sorted(p.parent.name for p in Path(path).glob("*/index.json")) if "://" not in path else []
        if "://" not in path and not Path(path).is_dir():
            raise InputError(f"{path} is no folder; name the one that interleave data pack wrote, or its copy")
        self.names = parts if parts is not None else inside
        if "://" not in path and not self.names and not Path(path, "index.json").is_file():
            raise InputError(f"{path} holds no shards: neither it nor a folder in it has an index.json")

    @cached_property
    def parts(self) -> dict[str, "Part"]:
        return {name: Part(f"{self.path.rstrip('/')}/{name}", self.cache, self.storage) for name in self.names}

    @cached_property
    def whole(self) -> Dataset:
        """Where there are no parts."""
        return Part(self.path, self.cache, self.storage)

    def sources(self, name: str) -> Mapping[str, Dataset]:
        for part in self.weights:
            if part not in self.names:
                raise InputError(f"shards: weights names {part!r}, which is none of {', '.join(self.names)}")
        for part, source in self.parts.items():
            source.weight = self.weights.get(part, 1.0)
        return self.parts or {name: self.whole}

    def __len__(self) -> int:
        return sum(len(part) for part in self.sources("").values())

    def __getitem__(self, index: int) -> Any:
        for part in self.sources("").values():
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(index)


class Part(Dataset):
    """One folder of shards."""

    def __init__(self, path: str, cache: str | None, storage: Mapping[str, Any]) -> None:
        try:
            from litdata import StreamingDataset
        except ImportError:
            raise InputError("shards need litdata: pip install interleave[litdata]") from None
        if "://" not in path:
            _whole(Path(path))
        try:
            self.items = StreamingDataset(path, cache_dir=cache, shuffle=False, storage_options=dict(storage))
            self.total = len(self.items)
        except failures(RuntimeError) as error:
            raise InputError(f"{path} cannot be read as shards: {' '.join(str(error).split())[:300]}") from None
        self.path = path
        self.runs = [end - start for start, end in self.items.region_of_interest]

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> Sample:
        try:
            item = self.items[index]
        except failures(RuntimeError) as error:
            told = " ".join(str(error).split())[:200]
            raise BadSample("unreadable shard", f"item {index} of {self.path} cannot be read: {told}") from None
        record, media = json.loads(item["record"]), item["media"].numpy().tobytes()
        turns = [Message(t["role"], [_part(part, media) for part in t["content"]]) for t in record["turns"]]
        notes = [Note(*note) for note in record["notes"]]
        return Sample(turns, record["id"], record["source"], notes)

    def chunks(self) -> Sequence[int]:
        return self.runs


def _whole(folder: Path) -> None:
    """Raises InputError where a copy is not complete."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        chunks = {chunk["filename"]: int(chunk["chunk_bytes"]) for chunk in index["chunks"]}
    except FileNotFoundError:
        raise InputError(f"{folder} holds no shards: it has no index.json") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'index.json'} cannot be read; copy the folder again: {error}") from None
    sizes = {name: (folder / name).stat().st_size if (folder / name).is_file() else 0 for name in chunks}
    short = [name for name, size in chunks.items() if sizes[name] < size]
    if short:
        first = f"{short[0]} has {sizes[short[0]]:,} of {chunks[short[0]]:,} bytes"
        raise InputError(f"{folder} is not complete: {len(short)} of {len(chunks)} shards are missing or cut; {first}")


def _part(part: Any, media: bytes) -> str | Media:
    if isinstance(part, str):
        return part
    files = [media[start:end] for start, end in part["spans"]]
    return Media(part["kind"], files[0] if part["one"] else files)
