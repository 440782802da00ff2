"""Annotation files to records by number: the only place that reads them, and that keeps large ones out of memory."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, TypedDict, overload

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.files import replacing

AnnotationRecord = dict[str, Any]
"""An object of JSON, as the data holds it."""
Label = Callable[[AnnotationRecord, str], Mapping[str, str]]
"""(a record, the name of its file) -> values to keep beside it, by column; they are read without the record."""

IN_MEMORY = 32 * 2**20
"""Bytes of all files together up to which they are read into memory each time, instead of being indexed."""
PIECE = 8 * 2**20
"""Characters of a JSON list that are read at a time."""
LONGEST_ESCAPE = 16
"""Characters, at most, between the place where the decoder gives up and the end of a text that was cut within a word,
a number or an escape."""
BATCH_ROWS = 4096
"""Records that are written into an index at a time."""


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

        Raises InputError for a file that cannot be read, or holds something else.
        """
        files = [Path(path) for path in paths]
        for path in files:
            _check_is_file(path)
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
        record: AnnotationRecord = json.loads(self.table.column("record")[index].as_py())
        return record

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
    """All records of one file: a JSON list, or JSONL where its name ends so. Raises InputError."""
    _check_is_file(Path(path))
    return list(read_records(Path(path)))


def read_records(path: Path) -> Iterator[AnnotationRecord]:
    """The records of a file one after another, without holding it in memory. Raises InputError."""
    number = 0  # of the item that is read, for errors
    try:
        with path.open(encoding="utf-8") as file:
            for record in _lines(file) if path.suffix == ".jsonl" else _list_items(file, path):
                if not isinstance(record, dict):
                    raise InputError(f"{path} holds no list of records: item {number} is a {type(record).__name__}")
                yield record
                number += 1
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        problem = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise InputError(f"{path} is not JSON: {problem}, in item {number}") from None
    except OSError as error:
        raise InputError(f"annotation file {path} cannot be read: {error.strerror}") from None


def cache_folder() -> Path:
    """Where indexes lie: ``INTERLEAVE_CACHE``, else the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("INTERLEAVE_CACHE") or Path(home) / "interleave")


def _check_is_file(path: Path) -> None:
    """Raises InputError for a folder, and where there is nothing."""
    if path.is_dir():
        raise InputError(f"annotation file {path} is a folder; name a .json or .jsonl file in it")
    if not path.is_file():
        raise InputError(f"annotation file {path} does not exist")


def _lines(file: TextIO) -> Iterator[object]:
    """The value of each line that is not blank."""
    for line in file:
        if line.strip():
            yield json.loads(line)


def _list_items(file: TextIO, path: Path) -> Iterator[object]:
    """The items of a JSON list, decoded as the file is read piece by piece.

    ``text`` is what was read and not decoded yet, from ``at`` on. Raises JSONDecodeError, and InputError where the file
    holds no list.
    """
    decoder = json.JSONDecoder()
    text, at = "", 0
    opened = False  # whether the list's bracket was read
    comma_due = False  # whether an item was read, so that a comma or the end must follow
    while True:
        at = _skip_space(text, at)
        if at == len(text):
            text, at = _read_more(file, path, "Expecting value"), 0
        elif not opened:
            if text[at] != "[":
                raise InputError(f"{path} holds no list of records")
            at += 1
            opened = True
        elif text[at] == "]":
            return
        elif comma_due:
            if text[at] != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            at += 1
            comma_due = False
        else:
            try:
                item, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                unfinished = error.msg.startswith("Unterminated string")
                if error.pos < len(text) - LONGEST_ESCAPE and not unfinished:
                    raise  # more text would not mend it
                # the item may be cut by the end of the piece: try it again with the next one
                text, at = text[at:] + _read_more(file, path, error.msg), 0
                continue
            yield item
            comma_due = True


def _skip_space(text: str, at: int) -> int:
    """The first position from ``at`` on that is no white space."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _read_more(file: TextIO, path: Path, problem: str) -> str:
    """The next piece of a file. Raises JSONDecodeError, which names the problem, where there is none."""
    piece = file.read(PIECE)
    if not piece:
        raise json.JSONDecodeError(f"{problem} where the file ends, after {path.stat().st_size:,} bytes", "", 0)
    return piece


def _batches(files: Sequence[Path], label: Label | None) -> Iterator[pa.RecordBatch]:
    """All records as batches of a table: column ``record`` with JSON text, and the columns of ``label``."""
    rows: list[dict[str, str]] = []
    for path in files:
        for record in read_records(path):
            columns = label(record, path.name) if label else {}
            # as text again: records of one file need not have the same fields, as columns would
            rows.append({"record": json.dumps(record, ensure_ascii=False), **columns})
            if len(rows) == BATCH_ROWS:
                yield pa.RecordBatch.from_pylist(rows)
                rows = []
    if rows:
        yield pa.RecordBatch.from_pylist(rows)


def _index(files: Sequence[Path], label: Label | None, version: str) -> Path:
    """The Arrow file of these files as they are now, made unless it is there; safe for several processes at once."""
    # paths, sizes and times name an index, so that one of a file that has changed is not found
    known = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    name = hashlib.sha256(json.dumps([known, version]).encode()).hexdigest()[:24]
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
