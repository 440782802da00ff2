"""``report.html``, one file that asks for nothing outside, and ``report.md`` with the same tables."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from ..interfaces.task import Task
from ..reports import paper_tables as paper
from ..scoring.significance import compare, verdict
from .gallery import Gallery, cards, first
from .plots import curves, radar
from .read_runs import Run

ITEMS = 12
"""Items of each group that a page shows."""
BASELINES = ("GPT-4V", "Interleave 0.5B", "Interleave 7B", "Interleave 14B")
"""Published rows that the radar plot has."""


def write_report(
    runs: Sequence[Run], out: Path, tasks: Mapping[str, Task], items: int = ITEMS, seconds: float | None = None
) -> Path:
    """Write ``report.html`` and ``report.md`` into ``out``. Returns the former.

    tasks: open the items of the runs; those of other tasks are shown without pictures. items: of each group. seconds:
    from the start of a training run to its report.
    """
    gallery = Gallery()
    printed = paper.tables(runs)
    content = {
        "title": " and ".join(run.name for run in runs),
        "runs": [about(run) for run in runs],
        "minutes": None if seconds is None else seconds / 60,
        "papers": [(table, _radar(table)) for table in printed],
        "tasks": {task: rows(runs, task) for task in _tasks(runs)},
        "differences": list(differences(runs)),
        "cards": list(cards(runs, tasks, gallery, items)),
        "skipped": [f"{run.name}: {line}" for run in runs for line in run.content.get("skipped", [])],
        "pictures": gallery.pictures,
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, escaped in (("report.html", True), ("report.md", False)):
        environment = Environment(
            loader=PackageLoader("interleave.reports", ""), autoescape=escaped, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters["percent"] = _percent
        page = environment.get_template(f"{name}.jinja").render(**content, json=json.dumps)
        (out / name).write_text(page, encoding="utf-8")
    return out / "report.html"


def about(run: Run) -> dict[str, Any]:
    """What a run is, and its losses where it was trained there."""
    found = run.content
    told = {
        "model": found.get("model", run.folder.name),
        "overrides": ", ".join(found.get("overrides", ())),
        "versions": ", ".join(f"{name} {number}" for name, number in found.get("versions", {}).items()),
        "judge": ", ".join(f"{task}: {judge.get('model', judge)}" for task, judge in found.get("judge", {}).items()),
    }
    return {"name": run.name, "told": {k: v for k, v in told.items() if v}, "curves": curves(run.folder)}


def _radar(table: paper.Table) -> str | None:
    theirs = {name: row for name, row in table.theirs.items() if name in BASELINES}
    return radar(table.columns, {**theirs, **table.ours}, list(table.ours))


def _tasks(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(task for run in runs for task in run.results))


def rows(runs: Sequence[Run], task: str) -> dict[str, Any]:
    """One row a group; one column for each run and condition: score, interval, items, and what the audit says."""
    columns = [(run, condition) for run in runs for condition in run.results.get(task, {})]
    several = len({condition for _, condition in columns}) > 1
    groups = sorted({group for run, condition in columns for group in run.results[task][condition]})
    lines = []
    for group in groups:
        cells = [run.results[task][condition].get(group) for run, condition in columns]
        says = {run.name: run.audit(task).get(group, {}).get("says", "") for run in runs}
        chance = next((cell["chance"] for cell in cells if cell and "chance" in cell), None)
        lines.append({"group": group, "cells": [_cell(c) for c in cells], "chance": chance, "says": _joined(says)})
    metric = next((next(iter(run.results[task][condition][g])) for run, condition in columns
                   for g in run.results[task][condition]), "")  # fmt: skip
    audits = {run.name: run.audit(task).get("all", {}) for run in runs if run.audit(task)}
    names = [f"{run.name}, {condition}" if several else run.name for run, condition in columns]
    return {"columns": names, "rows": lines, "metric": metric, "audits": audits,
            "says": _joined({name: row.get("says", "") for name, row in audits.items()})}  # fmt: skip


def _cell(metrics: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if metrics is None:
        return None
    low, high = metrics.get("interval", (None, None))
    return {"score": float(next(iter(metrics.values()))), "low": low, "high": high, "n": metrics["n"]}


def _joined(says: Mapping[str, str]) -> str:
    told = {name: text for name, text in says.items() if text}
    if len(set(told.values())) <= 1 and len(told) == len(says):
        return next(iter(told.values()), "")
    return "; ".join(f"{name}: {text}" for name, text in told.items())


def differences(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """For each task that two runs have: whether a later run is better than the first one, on the items of both."""
    for task in _tasks(runs):
        for other in runs[1:]:
            keys = [k for k in runs[0].replies if k[0] == task and k in other.replies]
            pairs = [(first(runs[0].replies[k]), first(other.replies[k])) for k in keys]
            both = [(a, b) for a, b in pairs if a is not None and b is not None]
            if both:
                found = compare(([a for a, _ in both], [b for _, b in both]))
                unpaired = len({k for run in (runs[0], other) for k in run.replies if k[0] == task}) - len(both)
                yield {"task": task, "says": verdict(found, runs[0].name, other.name), "unpaired": unpaired}


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
