"""Annotation files -> records by number: the only place that reads them, and that keeps large ones out of memory."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray

from ..core.errors import InputError

Record = dict[str, Any]
Label = Callable[[Record, str], Mapping[str, str]]
"""A record and its file's name -> values of columns that can be read without the record."""

SMALL = 32 * 2**20
"""Bytes of all files together up to which they are read anew each time, into memory."""
PIECE = 8 * 2**20
LONGEST = 16
"""Letters from where a decoder stops to the end of a text that was cut within a word or an escape."""
ROWS = 4096


class Records(Sequence[Record]):
    """Records of a JSON list or of JSONL files, one file after another.

    Large files are indexed once, into an Arrow file that is mapped into memory: processes share its pages, and a worker
    holds nothing of its own. The index lies in ``cache_folder()`` and is made anew when a file changes.

    paths: the files. label: values to keep beside each record, by column; ``version`` names what it does. Raises
    InputError.
    """

    def __init__(self, paths: Sequence[str | Path], label: Label | None = None, version: str = "") -> None:
        files = [Path(path) for path in paths]
        for path in files:
            _there(path)
        self.file: Path | None = None
        if sum(path.stat().st_size for path in files) > SMALL:
            self.file = _index(files, label, version)
            self.table = _mapped(self.file)
        else:
            batches = list(_batches(files, label))
            self.table = pa.Table.from_batches(batches) if batches else pa.table({"record": pa.array([], pa.string())})

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        record: Record = json.loads(self.table.column("record")[index].as_py())
        return record

    def column(self, name: str) -> NDArray[np.str_]:
        """What ``label`` said of every record."""
        values: NDArray[np.str_] = self.table.column(name).to_numpy(zero_copy_only=False)
        return values

    def __getstate__(self) -> dict[str, Any]:
        """A process that is started anew maps the file itself."""
        return {"file": self.file, "table": None if self.file else self.table}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.file, table = state["file"], state["table"]
        self.table = _mapped(self.file) if self.file else table


def read_json(path: str | Path) -> list[Record]:
    """A JSON list of records, or one record a line, as a list. Raises InputError."""
    _there(Path(path))
    return list(read_records(Path(path)))


def _there(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"annotation file {path} is a folder; name a .json or .jsonl file in it")
    if not path.is_file():
        raise InputError(f"annotation file {path} does not exist")


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file one after another, without holding it in memory. Raises InputError."""
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for record in _lines(file) if path.suffix == ".jsonl" else _items(file, path):
                if not isinstance(record, dict):
                    raise InputError(f"{path} holds no list of records: item {number} is a {type(record).__name__}")
                yield record
                number += 1
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        told = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise InputError(f"{path} is not JSON: {told}, in item {number}") from None
    except OSError as error:
        raise InputError(f"annotation file {path} cannot be read: {error.strerror}") from None


def cache_folder() -> Path:
    """Where indexes lie: ``INTERLEAVE_CACHE``, else the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("INTERLEAVE_CACHE") or Path(home) / "interleave")


def _lines(file: Any) -> Iterator[Any]:
    return (json.loads(line) for line in file if line.strip())


def _items(file: Any, path: Path) -> Iterator[Any]:
    """The items of a JSON list, read piece by piece."""
    decoder, text, at = json.JSONDecoder(), "", 0
    begun = comma_due = False
    while True:
        at = _past_space(text, at)
        if at == len(text):
            text, at = _more(file, path, "Expecting value"), 0
        elif not begun:
            if text[at] != "[":
                raise InputError(f"{path} holds no list of records")
            at, begun = at + 1, True
        elif text[at] == "]":
            return
        elif comma_due:
            if text[at] != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            at, comma_due = at + 1, False
        else:
            try:
                item, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                if error.pos < len(text) - LONGEST and not error.msg.startswith("Unterminated string"):
                    raise  # more text would not mend it
                text, at = text[at:] + _more(file, path, error.msg), 0
                continue
            yield item
            comma_due = True


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _more(file: Any, path: Path, problem: str) -> str:
    more: str = file.read(PIECE)
    if not more:
        raise json.JSONDecodeError(f"{problem} where the file ends, after {path.stat().st_size:,} bytes", "", 0)
    return more


def _batches(files: Sequence[Path], label: Label | None) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, str]] = []
    for path in files:
        for record in read_records(path):
            known = label(record, path.name) if label else {}
            rows.append({"record": json.dumps(record, ensure_ascii=False), **known})
            if len(rows) == ROWS:
                yield pa.RecordBatch.from_pylist(rows)
                rows = []
    if rows:
        yield pa.RecordBatch.from_pylist(rows)


def _index(files: Sequence[Path], label: Label | None, version: str) -> Path:
    """The Arrow file of these files as they are now, made unless it is there; safe for several processes at once."""
    known = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    name = hashlib.sha256(json.dumps([known, version]).encode()).hexdigest()[:24]
    target = cache_folder() / "records" / f"{name}.arrow"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            beside = target.with_suffix(".part")
            batches = _batches(files, label)
            first = next(batches)  # a file of this size has one
            with pa.OSFile(str(beside), "wb") as sink, pa.ipc.new_file(sink, first.schema) as writer:
                writer.write_batch(first)
                for batch in batches:
                    writer.write_batch(batch)
            beside.rename(target)
    return target


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
