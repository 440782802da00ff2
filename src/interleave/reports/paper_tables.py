"""The paper's tables: which number of ours stands in which column, and what it prints there."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

import yaml

from ..scoring.interleave_bench import BENCH
from .read_runs import Run


class Column(NamedTuple):
    """Where a number of ours is found.

    task, group: of the results. metric: its name; None is the main one. best: the value that the paper prints as 100;
    0 where the paper prints values as they are.
    """

    task: str
    group: str = "all"
    metric: str | None = None
    best: float = 1


def _bench(name: str) -> list[Column]:
    """A data set of LLaVA-Interleave Bench: asked with the whole bench, with its 3D part, or alone."""
    return [Column("interleave_bench", name), Column("interleave_bench_3d", name), Column(name, name)]


PAPER_COLUMNS: Mapping[str, Sequence[Column]] = {
    **{bench.column: _bench(name) for name, bench in BENCH.items()},
    "NExT-QA": [Column("nextqa_mc")],
    "MVBench": [Column("mvbench")],
    "ActivityNet-QA acc": [Column("activitynet_qa", metric="accuracy")],
    "ActivityNet-QA score": [Column("activitynet_qa", metric="score", best=0)],
    "VDD": [Column("vdd", metric="score", best=0)],
    **{name: [Column("videochatgpt", name, "score", 0)] for name in ("CI", "DO", "CU", "TU", "CO")},
    "AI2D": [Column("ai2d")],
    "ChartQA": [Column("chartqa")],
    "DocVQA": [Column("docvqa")],
    "MME*": [Column("mme", metric="score", best=2800)],
    "POPE": [Column("pope", metric="f1")],
}
"""Name of a column -> places of its number, of which the first that a run has is taken."""
COLUMNS_OF_ONE_TABLE: Mapping[tuple[str, str], Sequence[Column]] = {
    ("single_image", "SciQA"): [Column("scienceqa_img")],
}
"""(table, name) -> places, where two tables give one name to two columns."""
TITLES = {
    "multi_image": "Multi-image",
    "video": "Video",
    "multi_view_3d": "3D multi-view",
    "single_image": "Single image",
}


class Table(NamedTuple):
    """One of the paper's tables with rows of ours.

    title: of the table.
    columns: their names.
    ours: run -> a number for each column, None where it has none.
    theirs: model -> a number for each column, as printed.
    whole: run -> for each column whether the items of its number were all run, fed and graded.
    """

    title: str
    columns: list[str]
    ours: dict[str, list[float | None]]
    theirs: dict[str, list[float]]
    whole: dict[str, list[bool]]


class _Number(NamedTuple):
    value: float | None
    whole: bool


def tables(runs: Sequence[Run]) -> list[Table]:
    """Those in which a run has a number."""
    published = yaml.safe_load(files(__package__).joinpath("published.yaml").read_text(encoding="utf-8"))
    made = []
    for name, node in published.items():
        theirs = {row: numbers for row, numbers in node.items() if row != "columns"}
        table = _table(name, node["columns"], theirs, runs)
        if any(value is not None for row in table.ours.values() for value in row):
            made.append(table)
    return made


def _table(name: str, columns: list[str], theirs: dict[str, list[float]], runs: Sequence[Run]) -> Table:
    table = Table(TITLES[name], columns, {}, theirs, {})
    for run in runs:
        numbers = [_find(run, name, column) for column in columns]
        table.ours[run.name] = [number.value for number in numbers]
        table.whole[run.name] = [number.whole for number in numbers]
    return table


def _find(run: Run, table: str, name: str) -> _Number:
    """A number of a run as the paper would print it."""
    for column in COLUMNS_OF_ONE_TABLE.get((table, name), PAPER_COLUMNS.get(name, ())):
        value = run.metric(column.task, column.group, column.metric)
        if value is not None:
            row = run.audit(column.task).get(column.group)  # None: the file does not say
            # the paper prints percent of the best possible value
            printed = 100 * value / column.best if column.best else value
            return _Number(printed, row is not None and row.complete)
    return _Number(None, True)
