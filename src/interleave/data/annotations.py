"""Annotation files to records by number: the only place that keeps large ones out of memory."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict, overload

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray

from ..core.files import replacing
from .annotation_files import AnnotationRecord, check_is_file, decoded, read_records

Label = Callable[[AnnotationRecord, str], Mapping[str, str]]
"""(a record, the name of its file) -> values to keep beside it, by column; they are read without the record."""

IN_MEMORY = 32 * 2**20
"""Bytes of all files together up to which they are read into memory each time, instead of being indexed."""
BATCH_ROWS = 4096
"""Records that are written into an index at a time."""
INDEX_VERSION = "2"
"""Of the form of an index; one of another form is not found, and made anew."""


class _State(TypedDict):
    """What of ``Records`` is pickled: the path of the index, or the whole table where there is none."""

    file: Path | None
    table: pa.Table | None


class Records(Sequence[AnnotationRecord]):
    """Records of JSON lists or of JSONL files, one file after another.

    Large files are indexed once, into an Arrow file that is mapped into memory: processes share its pages, and a worker
    holds nothing of its own. The index lies in ``cache_folder()`` and is made anew when a file changes.

    file: the index; None where the records are in memory.
    """

    def __init__(self, paths: Sequence[str | Path], label: Label | None = None, version: str = "") -> None:
        """paths: files that end in .jsonl, with a record a line, or any others, with a list of records.
        label: values to keep beside each record; ``column`` returns them.
        version: names what ``label`` does; with another one an index is made anew.

        Raises InputError for a file that cannot be read, or holds something else. A single record that is broken
        raises BadSample when it is read.
        """
        files = [Path(path) for path in paths]
        for path in files:
            check_is_file(path)
        self.file: Path | None = None
        if sum(path.stat().st_size for path in files) > IN_MEMORY:
            self.file = _index(files, label, version)
            self.table = _mapped(self.file)
        else:
            # the same form as a mapped file, so that all else is alike
            batches = list(_batches(files, label))
            self.table = pa.Table.from_batches(batches) if batches else pa.table({"record": pa.array([], pa.string())})

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, index: int) -> AnnotationRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[AnnotationRecord]: ...
    def __getitem__(self, index: int | slice) -> AnnotationRecord | list[AnnotationRecord]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        # decoded anew each time: only text is kept, which takes less memory than objects
        return decoded(self.table.column("record")[index].as_py())

    def column(self, name: str) -> NDArray[np.str_]:
        """The values that ``label`` gave all records in column ``name``: an array of shape (len(self),)."""
        values: NDArray[np.str_] = self.table.column(name).to_numpy(zero_copy_only=False)
        return values

    def __getstate__(self) -> _State:
        """A process that is started anew maps the file itself."""
        return {"file": self.file, "table": None if self.file else self.table}

    def __setstate__(self, state: _State) -> None:
        self.file = state["file"]
        self.table = _mapped(self.file) if self.file else state["table"]


def read_json(path: str | Path) -> list[AnnotationRecord]:
    """All records of one file: a JSON list, or JSONL where its name ends so. Raises InputError.

    What stands for a record that cannot be read has the field ``BROKEN_FIELD`` alone, which says why.
    """
    return [record for _, record in read_records(Path(path))]


def cache_folder() -> Path:
    """Where indexes lie: ``INTERLEAVE_CACHE``, else the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("INTERLEAVE_CACHE") or Path(home) / "interleave")


def _batches(files: Sequence[Path], label: Label | None) -> Iterator[pa.RecordBatch]:
    """All records as batches of a table: column ``record`` with JSON text, and the columns of ``label``."""
    columns: dict[str, list[str]] = {}
    for path in files:
        for text, record in read_records(path):
            # as text, since records of one file need not have the same fields, as columns would; and as the file has
            # it, since writing it anew takes as long as reading it
            labels = label(record, path.name) if label else {}
            for name, value in {"record": text, **labels}.items():
                columns.setdefault(name, []).append(value)
            if len(columns["record"]) == BATCH_ROWS:
                yield pa.RecordBatch.from_pydict(columns)
                columns = {}
    if columns:
        yield pa.RecordBatch.from_pydict(columns)


def _index(files: Sequence[Path], label: Label | None, version: str) -> Path:
    """The Arrow file of these files as they are now, made unless it is there; safe for several processes at once."""
    # paths, sizes and times name an index, so that one of a file that has changed is not found
    known = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    name = hashlib.sha256(json.dumps([known, version, INDEX_VERSION]).encode()).hexdigest()[:24]
    target = cache_folder() / "records" / f"{name}.arrow"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):  # the first process makes it, the others wait
        if not target.exists():
            with replacing(target) as part:
                _write_index(part, _batches(files, label))
    return target


def _write_index(path: Path, batches: Iterator[pa.RecordBatch]) -> None:
    first = next(batches)  # files of this size have one; the schema is its own
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, first.schema) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


def _mapped(path: Path) -> pa.Table:
    """The table of an Arrow file, whose pages are read when they are used."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
