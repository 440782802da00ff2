"""Question files of benchmarks -> rows under one set of names: the only place that reads their CSV and JSON."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from interleave import InputError, read_json

from ...dataset.huggingface import Row, Table, read_table

Record = Mapping[str, object]
"""One item of a task, as its file or table holds it, with the columns that ``Rows`` adds."""
SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")


@dataclass(frozen=True)
class Form:
    """A documented form of a benchmark's rows.

    where: who publishes rows of this form, for error messages.
    columns: the names that a task uses -> the names in the files.
    key: the columns of the files that together name a row; empty where only its number does.
    """

    where: str
    columns: Mapping[str, str]
    key: tuple[str, ...] = ()


def same_names(*names: str) -> dict[str, str]:
    """``Form.columns`` for columns that a task calls as the files do."""
    return {name: name for name in names}


class Rows(Sequence[Row]):
    """Rows of a table by number.

    A row has the columns of the file, the same values under the names of its form, ``id`` (a text), and ``row`` (its
    number). Columns that hold the content of pictures are left in the table: ``picture_cell`` reads them when they are
    asked for, so that many rows may be kept in memory.
    """

    def __init__(self, table: list[Row] | Table, form: Form) -> None:
        self.form = form
        self.pictures: dict[str, Table] = {}  # column -> a table of that column alone
        self.table = table
        if not isinstance(table, list):
            heavy = [name for name, feature in table.features.items() if _holds_pictures(feature)]
            self.pictures = {name: table.select_columns([name]) for name in heavy}
            self.table = table.remove_columns(heavy) if heavy else table

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = dict(self.table[index])
        name = "_".join(str(row.get(column)) for column in self.form.key)
        renamed = {}
        for ours, theirs in self.form.columns.items():
            if theirs not in self.pictures:
                renamed[ours] = row.get(theirs)
        return {**row, **renamed, "id": name or str(index), "row": index}

    def picture_cell(self, row: Record, name: str) -> object:
        """What a row holds in a column of pictures: content, a path, or an object with either.

        name: of the column, in the terms of the task.
        """
        column = self.form.columns.get(name, name)
        if column not in self.pictures:
            return row.get(name)
        number = row["row"]
        assert isinstance(number, int)
        return self.pictures[column][number][column]


def _holds_pictures(feature: object) -> bool:
    """Whether a column holds pictures: declared as such, or as objects of content and path."""
    return type(feature).__name__ == "Image" or (isinstance(feature, dict) and "bytes" in feature)


def load_table(path: str, subset: str | None, split: str) -> list[Row] | Table:
    """A file, a folder of files, or a data set of the Hugging Face hub -> rows by number, under their own names.

    A row of a CSV or JSON file has the file's name without its suffix as ``file``. Raises InputError.
    """
    place = Path(path)
    if subset and place.joinpath(subset).is_dir() and not place.joinpath("README.md").is_file():
        place = place / subset  # a copy of the hub's files without the card that would choose the subset
    if place.is_file() and place.suffix in SUFFIXES:
        return list(_rows_of(place))
    if place.is_dir():
        files = [file for file in place.iterdir() if file.suffix in SUFFIXES and file.name != "dataset_dict.json"]
        # a folder with Parquet files or a saved data set is read as such; the JSON in it describes it
        if files and not any(place.rglob("*.parquet")) and not (place / "state.json").is_file():
            rows: list[Row] = []
            for file in sorted(files):
                rows.extend(_rows_of(file))
            return rows
    if place.suffix in (*SUFFIXES, ".parquet") and not place.exists():
        raise InputError(f"{path} does not exist")
    return read_table(str(place), subset, split)


def to_rows(table: list[Row] | Table, path: str, forms: Sequence[Form]) -> Rows:
    """A table's rows under a task's names, by the form that lacks the fewest columns in it.

    path: of the table, for error messages.

    Raises InputError where the table is empty, or that form lacks a column.
    """
    if not len(table):
        raise InputError(f"{path} holds no rows")
    first = table[0]  # all rows of a file have the same columns
    absent = [[column for column in form.columns.values() if column not in first] for form in forms]
    missing = min(absent, key=len)
    if missing:
        known = "; or ".join(f"{', '.join(form.columns.values())} as in {form.where}" for form in forms)
        raise InputError(f"{path} has no column {missing[0]!r}; the known form is {known}")
    return Rows(table, forms[absent.index(missing)])


def _rows_of(file: Path) -> Iterator[Row]:
    read = _read_csv if file.suffix in (".csv", ".tsv") else _read_json
    for row in read(file):
        yield {"file": file.stem, **row}


def _read_csv(file: Path) -> Iterator[Row]:
    """Rows of a table with a line of column names, separated by commas or, in ``.tsv``, by tabs."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:  # with or without a byte order mark
            yield from csv.DictReader(lines, delimiter="\t" if file.suffix == ".tsv" else ",")
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no table: {error}") from None


def _read_json(file: Path) -> Sequence[Row]:
    """A list of rows, one row a line whatever the suffix, rows below ``data``, or an object of rows by their key."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not JSON: {error}") from None
    if not text.lstrip().startswith("{") or file.suffix == ".jsonl":
        return read_json(file)
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:  # several objects, one a line
        return _read_lines(text, file)
    if isinstance(whole.get("data"), list):
        return list(whole["data"])
    if whole and all(isinstance(row, dict) for row in whole.values()):
        return [{"key": key, **row} for key, row in whole.items()]
    return [whole]


def _read_lines(text: str, file: Path) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise InputError(f"{file} is not JSON at line {number}: {error}") from None
    return rows
