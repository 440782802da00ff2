"""Streaming shards, as ``interleave data pack`` writes them."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from interleave import Dataset, InputError, Media, Note, Sample, Turn, datasets


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
        if "://" not in path and not Path(path, "index.json").is_file():
            raise InputError(f"{path} holds no shards: it has no index.json")
        self.items = StreamingDataset(path, cache_dir=cache, shuffle=False, storage_options=dict(storage))
        self.total = len(self.items)
        self.runs = [end - start for start, end in self.items.region_of_interest]

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> Sample:
        item = self.items[index]
        record, media = json.loads(item["record"]), item["media"].numpy().tobytes()
        turns = [Turn(t["role"], [_part(part, media) for part in t["content"]]) for t in record["turns"]]
        notes = [Note(*note) for note in record["notes"]]
        return Sample(turns, record["id"], record["source"], notes)

    def chunks(self) -> Sequence[int]:
        return self.runs


def _part(part: Any, media: bytes) -> str | Media:
    if isinstance(part, str):
        return part
    files = [media[start:end] for start, end in part["spans"]]
    return Media(part["kind"], files[0] if part["one"] else files)
