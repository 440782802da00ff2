"""A sample as an item of a shard: plain data, and the bytes of its media's files."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from ..core.errors import BadSample, InputError
from ..core.sample import Media, Message, Preference, Sample
from ..interfaces.dataset import Dataset
from ..media.file_kinds import is_picture
from ..media.images import pictures_in

SCENES = frozenset({".json", ".ply", ".glb", ".obj"})
"""Files that name others, or that are known by their suffix: bytes alone do not tell what they are."""


class PackedSample(TypedDict):
    """An item of a shard.

    record: JSON text of a ``SampleRecord``.
    media: (bytes,) uint8, the files of the sample's media end to end.
    """

    record: str
    media: Tensor


class MediaRecord(TypedDict):
    """A piece of media.

    kind: its modality.
    spans: [start, end) of each of its files in the bytes of the item.
    one: whether it is a single file, and no folder or list with one file in it.
    """

    kind: str
    spans: list[list[int]]
    one: bool


class TurnRecord(TypedDict):
    """A message: who says it, and its text and media in reading order."""

    role: str
    content: list[str | MediaRecord]


class SampleRecord(TypedDict):
    """A conversation as plain data. notes: [reason, message, action] of each repair."""

    id: str
    source: str
    turns: list[TurnRecord]
    notes: list[list[str]]


def packed_sample(dataset: Dataset, index: int) -> PackedSample:
    """One item. All of them have one form, as litdata wants it: a text and one run of bytes, never empty."""
    record, files = sample_record(dataset[index])
    # JSON cannot hold bytes, so the record says by spans where each file lies in them
    data = b"".join(file.read_bytes() for file in files)
    return {
        "record": json.dumps(record, ensure_ascii=False),
        "media": torch.frombuffer(bytearray(data or b"\0"), dtype=torch.uint8),  # (bytes,)
    }


class _Spans:
    """Files end to end: where each begins and ends in the run of their bytes."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.end = 0

    def add(self, path: Path) -> list[int]:
        """[start, end) of one more file."""
        start = self.end
        self.files.append(path)
        self.end += path.stat().st_size
        return [start, self.end]


def sample_record(sample: Sample | Preference) -> tuple[SampleRecord, Sequence[Path]]:
    """A conversation as plain data, and its files in the order of their bytes.

    Raises BadSample for a file that is not there, InputError for a preference and for media that do not lie in files.
    """
    if isinstance(sample, Preference):
        raise InputError("preferences cannot be packed into shards; train on their JSON")
    spans = _Spans()
    turns = [_turn(message, spans) for message in sample.messages]
    # repairs are done already, and what was repaired is told again when the shards are read
    notes = [list(note) for note in sample.notes]
    return {"id": sample.id, "source": sample.source, "turns": turns, "notes": notes}, spans.files


def _turn(message: Message, spans: _Spans) -> TurnRecord:
    content: list[str | MediaRecord] = []
    for part in message.content:
        if isinstance(part, Media):
            places = [spans.add(path) for path in _files(part.data)]
            # a folder or a list with one file must be read as such again, hence ``one``
            content.append({"kind": part.kind, "spans": places, "one": _is_single_file(part.data)})
        else:
            content.append(part)
    return {"role": message.role, "content": content}


def _is_single_file(data: object) -> bool:
    return isinstance(data, (str, Path)) and Path(data).is_file()


def _files(data: object) -> Iterator[Path]:
    """The files of a piece of media: itself, the pictures of a folder, or the members of a list.

    Raises BadSample for what is not there and for scenes, InputError for what does not lie in files.
    """
    if isinstance(data, (list, tuple)):
        for member in data:
            yield from _files(member)
    elif not isinstance(data, (str, Path)):
        raise InputError(f"only media that lie in files can be packed; this one is a {type(data).__name__}")
    elif Path(data).is_file():
        if Path(data).suffix.lower() in SCENES:
            raise BadSample("not packed", f"{data} is a scene, which is read from its file and those beside it")
        yield Path(data)
    elif Path(data).is_dir():
        if not any(map(is_picture, Path(data).iterdir())):
            raise BadSample("not packed", f"{data} holds no pictures; scenes with cameras are read from their folders")
        yield from pictures_in(Path(data))
    else:
        raise BadSample("missing file", f"{data} does not exist")
