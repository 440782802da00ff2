"""``interleave data pack``: records with their media as streaming shards, readable by ``dataset=shards``."""

import json
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec
import torch
from rich.console import Console

from ..core.errors import BadSample, InputError
from ..core.sample import Media, Preference, Sample
from ..data.example_source import Source
from ..interfaces.dataset import Dataset
from ..media.images import IMAGE_SUFFIXES
from .sample_facts import chosen, samples

SCENES = frozenset({".json", ".ply", ".glb", ".obj"})
"""Files that name others, or that are known by their suffix: bytes alone do not tell what they are."""


def pack(source: Source, out: str, limit: int | None, num_workers: int, megabytes: int) -> int:
    """One folder of shards for each source below ``out``, and ``lost.jsonl``. Returns how many samples were lost.

    out: a folder, or a place in a store such as s3://bucket/folder, to which the finished shards are copied. Media are
    copied as they are, not decoded; what cannot be found is lost. Raises InputError.
    """
    if find_spec("litdata") is None:
        raise InputError("shards need litdata: pip install interleave[litdata]")
    if "://" not in out:
        lost = _pack(source, Path(out), limit, num_workers, megabytes)
    else:
        lost = _copied(source, out, limit, num_workers, megabytes)
    told = f"; {samples(lost)} lost: {out}/lost.jsonl" if lost else ""
    Console().print(f"shards: {out}{told}", soft_wrap=True, highlight=False)
    return lost


def _copied(source: Source, out: str, limit: int | None, num_workers: int, megabytes: int) -> int:
    try:
        store, inside = fsspec.core.url_to_fs(out)
    except (OSError, ValueError, ImportError) as error:
        way = ": pip install interleave[s3]" if isinstance(error, ImportError) and out.startswith("s3") else ""
        raise InputError(f"{out} cannot be reached: {' '.join(str(error).split())}{way}") from None
    boto = sys.modules.get("botocore.exceptions")  # s3fs lets its errors through
    failures = (OSError, ValueError, *((boto.BotoCoreError, boto.ClientError) if boto else ()))
    try:
        if store.exists(inside) and store.ls(inside):
            raise InputError(f"{out} is not empty; name a new folder by --out")
        with tempfile.TemporaryDirectory() as folder:
            lost = _pack(source, Path(folder), limit, num_workers, megabytes)
            store.put(f"{folder}/", inside, recursive=True)
    except InputError:  # a ValueError, too
        raise
    except failures as error:
        raise InputError(f"{out} cannot be written: {' '.join(str(error).split())}") from None
    return lost


def _pack(source: Source, out: Path, limit: int | None, num_workers: int, megabytes: int) -> int:
    import litdata

    if out.is_file() or (out.exists() and any(out.iterdir())):
        raise InputError(f"{out} is not empty; name a new folder by --out")
    out.mkdir(parents=True, exist_ok=True)
    lost: list[dict[str, Any]] = []
    for name, dataset in source.datasets.items():
        numbers = [i for n, i in chosen(source, limit) if n == name]
        fine = [i for i in numbers if _can_be_read(name, dataset, i, lost)]
        if not fine:
            continue
        with _start_method():
            litdata.optimize(
                fn=partial(_item, dataset),
                inputs=fine,
                output_dir=str(out / name),
                chunk_bytes=megabytes * 2**20,
                num_workers=max(1, num_workers),
                verbose=False,
            )
        Console().print(f"{name}: {samples(len(fine))}", soft_wrap=True, highlight=False)
    (out / "lost.jsonl").write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in lost))
    return len(lost)


@contextmanager
def _start_method() -> Iterator[None]:
    """litdata changes for the whole process how workers begin; afterwards it is as it was."""
    before = multiprocessing.get_start_method(allow_none=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


def _can_be_read(name: str, dataset: Dataset, index: int, lost: list[dict[str, Any]]) -> bool:
    try:
        _record(dataset[index])
        return True
    except BadSample as bad:
        entry = {"source": name, "index": index, "id": dataset.id(index), "reason": bad.reason}
        lost.append({**entry, "message": bad.message, "action": "left out"})
        return False


def _item(dataset: Dataset, index: int) -> dict[str, Any]:
    """The form of every item: a text and one run of bytes, in which the text says where each file lies."""
    record, files = _record(dataset[index])
    data = b"".join(file.read_bytes() for file in files)
    return {
        "record": json.dumps(record, ensure_ascii=False),
        "media": torch.frombuffer(bytearray(data or b"\0"), dtype=torch.uint8),
    }


def _record(sample: Sample | Preference) -> tuple[dict[str, Any], list[Path]]:
    """A conversation as plain data, and its files. Raises BadSample for a file that is not there."""
    if isinstance(sample, Preference):
        raise InputError("preferences cannot be packed into shards; train on their JSON")
    files: list[Path] = []
    ends = 0

    def put(path: Path) -> list[int]:
        nonlocal ends
        files.append(path)
        start, ends = ends, ends + path.stat().st_size
        return [start, ends]

    turns = []
    for turn in sample.messages:
        parts: list[Any] = []
        for part in turn.content:
            if isinstance(part, Media):
                spans = [put(path) for path in _files(part.data)]
                parts.append({"kind": part.kind, "spans": spans, "one": _is_one(part.data)})
            else:
                parts.append(part)
        turns.append({"role": turn.role, "content": parts})
    notes = [list(note) for note in sample.notes]
    return {"id": sample.id, "source": sample.source, "turns": turns, "notes": notes}, files


def _is_one(data: Any) -> bool:
    return isinstance(data, (str, Path)) and Path(data).is_file()


def _files(data: Any) -> Iterator[Path]:
    """The files of a piece of media: itself, the pictures of a folder, or the members of a list."""
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
        pictures = sorted(p for p in Path(data).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not pictures:
            raise BadSample("not packed", f"{data} holds no pictures; scenes with cameras are read from their folders")
        yield from pictures
    else:
        raise BadSample("missing file", f"{data} does not exist")
