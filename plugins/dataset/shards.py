"""Streaming shards, as ``interleave data pack`` writes them."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypedDict

from interleave import BadSample, Dataset, InputError, Media, Message, Note, Preference, Sample, datasets, one_line

from .base.object_stores import failures


class MediaPart(TypedDict):
    """A piece of media in a message of a packed sample.

    kind: the modality that takes it.
    spans: first byte, and byte after the last, of each of its files in the sample's media.
    one: whether it is a single file, and not a list of them.
    """

    kind: str
    spans: list[tuple[int, int]]
    one: bool


@datasets.register("shards")
class Shards(Dataset):
    """Shards in a local folder, or in a store such as s3://bucket/folder, of which only what is read is fetched.

    path: the folder.
    parts: names of its sub-folders, each a source of its own; null takes all that lie in a local folder. A store does
        not list its folders, so that null reads the folder itself there.
    cache: a folder for fetched shards; null leaves the choice to litdata.
    storage: options of the store, such as {endpoint_url: https://...}.
    weights: part -> how often an epoch reads each of its samples.
    """

    def __init__(
        self,
        path: str,
        parts: list[str] | None = None,
        cache: str | None = None,
        storage: dict[str, object] | None = None,
        weights: dict[str, float] | None = None,
    ) -> None:
        self.path = path
        self.cache = cache
        self.storage = storage or {}
        self.weights = weights or {}
        self.names = parts or []
        if "://" not in path:
            folder = Path(path)
            if not folder.is_dir():
                raise InputError(f"{path} is no folder; name the one that interleave data pack wrote, or its copy")
            if parts is None:
                self.names = sorted(index.parent.name for index in folder.glob("*/index.json"))
            if not self.names and not (folder / "index.json").is_file():
                raise InputError(f"{path} holds no shards: neither it nor a folder in it has an index.json")

    @cached_property
    def parts(self) -> Mapping[str, "Part"]:
        """Each sub-folder by its name; opened when it is first asked for."""
        return {name: Part(f"{self.path.rstrip('/')}/{name}", self.cache, self.storage) for name in self.names}

    @cached_property
    def whole(self) -> Dataset:
        """The folder itself, where it has no parts."""
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

    def __getitem__(self, index: int) -> Sample | Preference:
        for part in self.sources("").values():
            if index < len(part):
                return part[index]
            index -= len(part)  # the number within the parts that follow
        raise IndexError(index)


class Part(Dataset):
    """One folder of shards.

    path: the folder, local or in a store.
    cache: a folder for fetched shards; None leaves the choice to litdata.
    storage: options of the store.

    Raises InputError where litdata is not installed, or the folder is incomplete or cannot be read.
    """

    def __init__(self, path: str, cache: str | None, storage: Mapping[str, object]) -> None:
        try:
            from litdata import StreamingDataset
        except ImportError:
            raise InputError("shards need litdata: pip install interleave[litdata]") from None
        if "://" not in path:
            _check_complete(Path(path))
        try:
            # the mixture decides the order, so that nothing is shuffled here
            self.items = StreamingDataset(path, cache_dir=cache, shuffle=False, storage_options=dict(storage))
            self.total = len(self.items)
        except failures(RuntimeError) as error:
            raise InputError(f"{path} cannot be read as shards: {one_line(error)}") from None
        self.path = path
        self.chunk_lengths = [end - start for start, end in self.items.region_of_interest]  # samples of each shard

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> Sample:
        try:
            item = self.items[index]
        except failures(RuntimeError) as error:
            raise BadSample(
                "unreadable shard", f"item {index} of {self.path} cannot be read: {one_line(error)}"
            ) from None
        record = json.loads(item["record"])
        files: bytes = item["media"].numpy().tobytes()  # all files of the sample, one after another
        messages = []
        for turn in record["turns"]:
            content = [_unpack(part, files) for part in turn["content"]]
            messages.append(Message(turn["role"], content))
        notes = [Note(*note) for note in record["notes"]]  # of repairs made before packing
        return Sample(messages, record["id"], record["source"], notes)

    def chunks(self) -> Sequence[int]:
        return self.chunk_lengths


def _check_complete(folder: Path) -> None:
    """Raises InputError where the index is missing or broken, or a shard is missing or too short."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        expected = {chunk["filename"]: int(chunk["chunk_bytes"]) for chunk in index["chunks"]}
    except FileNotFoundError:
        raise InputError(f"{folder} holds no shards: it has no index.json") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'index.json'} cannot be read; copy the folder again: {error}") from None
    short = []
    for name, size in expected.items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else 0
        if found < size:
            short.append(f"{name} has {found:,} of {size:,} bytes")
    if short:
        raise InputError(
            f"{folder} is not complete: {len(short)} of {len(expected)} shards are missing or cut; {short[0]}"
        )


def _unpack(part: str | MediaPart, files: bytes) -> str | Media:
    """A piece of a message, text or media. files: those of the whole sample, one after another."""
    if isinstance(part, str):
        return part
    contents = [files[start:end] for start, end in part["spans"]]
    return Media(part["kind"], contents[0] if part["one"] else contents)
