"""The paper's tables: which number of ours stands in which column, and what it prints there."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from ..scoring.interleave_bench import BENCH
from .read_runs import Run


class Column(NamedTuple):
    """Where a number of ours is found. best: what 100 in the paper is with us; 0 where the paper has our scale."""

    task: str
    group: str = "all"
    metric: str | None = None
    best: float = 1


def _bench(name: str) -> list[Column]:
    return [Column("interleave_bench", name), Column("interleave_bench_3d", name), Column(name, name)]


COLUMNS: Mapping[str, Sequence[Column]] = {
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
OF_TABLE: Mapping[tuple[str, str], Sequence[Column]] = {("single_image", "SciQA"): [Column("scienceqa_img")]}
"""Where two tables give one name to two columns."""
TITLES = {
    "multi_image": "Multi-image",
    "video": "Video",
    "multi_view_3d": "3D multi-view",
    "single_image": "Single image",
}


class Table(NamedTuple):
    """One of the paper's tables. rows: name -> a number for each column, None where there is none; ours come first.
    whole: whether the items of each of our numbers were all run and fed, by row.
    """

    title: str
    columns: list[str]
    ours: dict[str, list[float | None]]
    theirs: dict[str, list[float]]
    whole: dict[str, list[bool]]


def tables(runs: Sequence[Run]) -> list[Table]:
    """Those in which a run has a number."""
    published = yaml.safe_load(files(__package__).joinpath("published.yaml").read_text(encoding="utf-8"))
    made = [_table(name, dict(rows), runs) for name, rows in published.items()]
    return [table for table in made if any(x is not None for row in table.ours.values() for x in row)]


def _table(name: str, rows: dict[str, Any], runs: Sequence[Run]) -> Table:
    columns: list[str] = rows.pop("columns")
    found = {run.name: [_find(run, name, column) for column in columns] for run in runs}
    ours = {run: [value for value, _ in row] for run, row in found.items()}
    whole = {run: [complete for _, complete in row] for run, row in found.items()}
    return Table(TITLES[name], columns, ours, rows, whole)


def _find(run: Run, table: str, name: str) -> tuple[float | None, bool]:
    """A number of a run as the paper would print it, and whether its items were all run and fed."""
    for column in OF_TABLE.get((table, name), COLUMNS.get(name, ())):
        value = run.metric(column.task, column.group, column.metric)
        if value is not None:
            row = run.audit(column.task).get(column.group, {})
            return (100 * value / column.best if column.best else value), bool(row.get("complete", False))
    return None, True
