"""``interleave data pack``: records with their media as streaming shards, readable by ``dataset=shards``."""

import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import fsspec
from rich.console import Console

from ..core.errors import BadSample, InputError, one_line, sample_border
from ..core.files import replacing
from ..data.example_source import ExampleSource, sample_id
from ..data.ledger import Entry
from ..interfaces.dataset import Dataset
from .sample_facts import choose_samples, count_samples
from .shard_records import packed_sample, sample_record


class ShardOptions(NamedTuple):
    """How shards are written.

    limit: samples of each source at most, spread over it; None for all.
    num_workers: processes that read; 0 and 1 are the same.
    megabytes: size of a shard in MiB.
    """

    limit: int | None
    num_workers: int
    megabytes: int


def pack(source: ExampleSource, out: str, limit: int | None, num_workers: int, megabytes: int) -> int:
    """Write one folder of shards for each source, and ``lost.jsonl``. Returns how many samples were lost.

    Media are copied as they are, not decoded; a sample with media that are not there is lost.

    source: the data sets.
    out: a folder, or a place in a store such as s3://bucket/folder, to which the finished shards are copied.
    limit, num_workers, megabytes: as in ``ShardOptions``.

    Raises InputError where ``out`` is not empty or cannot be written, and for media that do not lie in files.
    """
    if find_spec("litdata") is None:
        raise InputError("shards need litdata: pip install interleave[litdata]")
    options = ShardOptions(limit, num_workers, megabytes)
    lost = _pack_into_store(source, out, options) if "://" in out else _pack_into_folder(source, Path(out), options)
    more = f"; {count_samples(lost)} lost: {out}/lost.jsonl" if lost else ""
    Console().print(f"shards: {out}{more}", soft_wrap=True, highlight=False)
    return lost


def _pack_into_store(source: ExampleSource, out: str, options: ShardOptions) -> int:
    """As ``pack``: into a temporary folder first, which is then copied as a whole."""
    try:
        store, inside = fsspec.core.url_to_fs(out)
    except (OSError, ValueError, ImportError) as error:
        remedy = ": pip install interleave[s3]" if isinstance(error, ImportError) and out.startswith("s3") else ""
        raise InputError(f"{out} cannot be reached: {one_line(error)}{remedy}") from None
    failures = _store_errors()
    try:
        if store.exists(inside) and store.ls(inside):
            raise InputError(f"{out} is not empty; name a new folder by --out")
        with tempfile.TemporaryDirectory() as folder:
            lost = _pack_into_folder(source, Path(folder), options)
            store.put(f"{folder}/", inside, recursive=True)
    except InputError:  # a ValueError, too
        raise
    except failures as error:
        raise InputError(f"{out} cannot be written: {one_line(error)}") from None
    return lost


def _store_errors() -> tuple[type[Exception], ...]:
    """What fsspec's stores raise. s3fs lets errors of botocore through, which is loaded only where S3 is used."""
    boto = sys.modules.get("botocore.exceptions")
    return (OSError, ValueError, *((boto.BotoCoreError, boto.ClientError) if boto else ()))


def _pack_into_folder(source: ExampleSource, out: Path, options: ShardOptions) -> int:
    """As ``pack``: each source into the folder ``out / name``, unless none of its samples can be read."""
    import litdata  # optional

    if out.is_file() or (out.exists() and any(out.iterdir())):
        raise InputError(f"{out} is not empty; name a new folder by --out")
    out.mkdir(parents=True, exist_ok=True)
    # every sample is read twice: first to see which can be packed, then by litdata's workers
    chosen = choose_samples(source, options.limit)
    lost: list[Entry] = []
    for name, dataset in source.datasets.items():
        readable: list[int] = []
        for number in [number for source_name, number in chosen if source_name == name]:
            problem = _problem(name, dataset, number)
            if problem:
                lost.append(problem)
            else:
                readable.append(number)
        if not readable:  # it gets no folder
            continue
        with _start_method_kept():
            litdata.optimize(
                fn=partial(packed_sample, dataset),
                inputs=readable,
                output_dir=str(out / name),
                chunk_bytes=options.megabytes * 2**20,
                num_workers=max(1, options.num_workers),  # for litdata 0 is four for each core
                verbose=False,
            )
        Console().print(f"{name}: {count_samples(len(readable))}", soft_wrap=True, highlight=False)
    with replacing(out / "lost.jsonl") as part:
        part.write_text("".join(entry.line() for entry in lost), encoding="utf-8")
    return len(lost)


@contextmanager
def _start_method_kept() -> Iterator[None]:
    """litdata changes for the whole process how workers begin; afterwards it is as it was."""
    before = multiprocessing.get_start_method(allow_none=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


def _problem(name: str, dataset: Dataset, index: int) -> Entry | None:
    """Why a sample cannot be packed, as an entry of a ledger; None where it can. Raises InputError."""
    try:
        with sample_border():
            sample_record(dataset[index])
    except BadSample as bad:
        return Entry(name, index, sample_id(dataset, index), bad.reason, bad.message, "left out")
    return None
