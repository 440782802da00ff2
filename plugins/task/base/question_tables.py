"""Question files of benchmarks -> rows under one set of names: the only place that reads their CSV and JSON."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interleave import InputError, read_json

from ...dataset.huggingface import read_table

Row = dict[str, Any]
SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")


@dataclass(frozen=True)
class Form:
    """A documented form of a benchmark's rows.

    where: who publishes it. columns: the names that a task uses -> those in the files. key: the columns of the files
    that name a row together; its number does, where there are none.
    """

    where: str
    columns: Mapping[str, str]
    key: tuple[str, ...] = ()


def same(*names: str) -> dict[str, str]:
    """Columns that a task calls as the files do."""
    return {name: name for name in names}


class Rows(Sequence[Row]):
    """Rows of a table by number, each with ``id`` and the names of its form beside its own columns.

    Pictures that a Parquet table holds stay there until ``held`` asks for one, so that rows may be kept.
    """

    def __init__(self, table: Any, form: Form) -> None:
        self.form = form
        heavy = [] if isinstance(table, list) else [name for name, kind in table.features.items() if _is_heavy(kind)]
        self.pictures = {name: table.select_columns([name]) for name in heavy}
        self.table = table.remove_columns(heavy) if heavy else table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = dict(self.table[index])
        name = "_".join(str(row.get(column)) for column in self.form.key)
        renamed = {n: row.get(theirs) for n, theirs in self.form.columns.items() if theirs not in self.pictures}
        return {**row, **renamed, "id": name or str(index), "row": index}

    def held(self, row: Mapping[str, Any], name: str) -> Any:
        """A picture of a row: its content or its path."""
        column = self.form.columns.get(name, name)
        return self.pictures[column][row["row"]][column] if column in self.pictures else row.get(name)


def _is_heavy(kind: Any) -> bool:
    """Whether a column holds pictures: declared so, or as their content and their path."""
    return type(kind).__name__ == "Image" or (isinstance(kind, dict) and "bytes" in kind)


def load(path: str, subset: str | None, split: str) -> Any:
    """A file, a folder of files, or a data set of the Hugging Face hub -> rows by number, under their own names.

    A row of a CSV or JSON file has the file's name without its suffix as ``file``. Raises InputError.
    """
    place = Path(path)
    if subset and place.joinpath(subset).is_dir() and not place.joinpath("README.md").is_file():
        place = place / subset  # a copy of the hub's files without the card that says so
    if place.is_file() and place.suffix in SUFFIXES:
        return list(_rows(place))
    if place.is_dir():
        files = sorted(p for p in place.iterdir() if p.suffix in SUFFIXES and p.name != "dataset_dict.json")
        if files and not any(place.rglob("*.parquet")) and not (place / "state.json").is_file():
            return [row for file in files for row in _rows(file)]
    if place.suffix in (*SUFFIXES, ".parquet") and not place.exists():
        raise InputError(f"{path} does not exist")
    return read_table(str(place), subset, split)


def named(table: Any, path: str, forms: Sequence[Form]) -> Rows:
    """Rows under a task's names, by the form that they are in. Raises InputError where a column of all is missing."""
    if not len(table):
        raise InputError(f"{path} holds no rows")
    first = table[0]
    lacks = [[column for column in form.columns.values() if column not in first] for form in forms]
    nearest = min(range(len(forms)), key=lambda i: len(lacks[i]))
    if lacks[nearest]:
        known = "; or ".join(f"{', '.join(form.columns.values())} as in {form.where}" for form in forms)
        raise InputError(f"{path} has no column {lacks[nearest][0]!r}; the known form is {known}")
    return Rows(table, forms[nearest])


def _rows(file: Path) -> Iterator[Row]:
    read = _separated if file.suffix in (".csv", ".tsv") else _json
    for row in read(file):
        yield {"file": file.stem, **row}


def _separated(file: Path) -> Iterator[Row]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            yield from csv.DictReader(lines, delimiter="\t" if file.suffix == ".tsv" else ",")
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no table: {error}") from None


def _json(file: Path) -> Sequence[Row]:
    """A list of rows, one row a line under whatever suffix, rows below ``data``, or rows by their key."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not JSON: {error}") from None
    if not text.lstrip().startswith("{") or file.suffix == ".jsonl":
        return read_json(file)
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        return _lines(text, file)
    if isinstance(whole.get("data"), list):
        return list(whole["data"])
    if whole and all(isinstance(row, dict) for row in whole.values()):
        return [{"key": key, **row} for key, row in whole.items()]
    return [whole]


def _lines(text: str, file: Path) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise InputError(f"{file} is not JSON at line {number}: {error}") from None
    return rows
