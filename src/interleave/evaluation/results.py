"""Scores of single replies -> what a task has achieved, by condition and group, with intervals; and the table of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from ..interfaces.task import Scored, Task
from ..scoring.significance import interval
from .audit import ALL, Audit, groups
from .reply import Reply

Results = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""task -> condition -> group -> metrics, the first one first; ``n``; ``interval``, [low, high] of the first metric with
95%; and, where it is known, ``chance``."""

ROUNDS = 200
"""Draws for the interval of what is no mean over items."""


def summarise(replies: Sequence[Reply], tasks: Mapping[str, Task]) -> Results:
    """Metrics over the items of each group that have scores; a group ``a/b`` counts for ``a``, too."""
    members: dict[tuple[str, str, str], list[Reply]] = defaultdict(list)
    for reply in replies:
        if reply.scores is not None:
            for group in groups(reply.group):
                members[reply.task, reply.condition, group].append(reply)
    results: Results = {}
    for (name, condition, group), chosen in sorted(members.items()):
        results.setdefault(name, {}).setdefault(condition, {})[group] = _metrics(tasks[name], chosen)
    return results


def _metrics(task: Task, replies: Sequence[Reply]) -> dict[str, Any]:
    records = task.records()
    scored = [Scored(records[r.index], r.reply or "", r.scores or {}) for r in replies]
    metrics = dict(task.total(scored))
    low, high = _interval(task, scored, next(iter(metrics)))
    chances = [r.chance for r in replies if r.chance is not None]
    chance = {"chance": mean(chances)} if chances else {}
    return {**metrics, **chance, "n": len(scored), "interval": [low, high]}


def _interval(task: Task, scored: Sequence[Scored], metric: str) -> tuple[float, float]:
    """Of the mean; where a task has a total of its own, of that total over items drawn anew within each group."""
    if type(task).total is Task.total:
        sure = interval([item.scores[metric] for item in scored])
        return sure.low, sure.high
    rng = np.random.default_rng(0)
    drawn = [(units, rng.integers(0, len(units), (ROUNDS, len(units)))) for units in _units(task, scored)]
    rounds = ([item for units, rows in drawn for i in rows[k] for item in units[i]] for k in range(ROUNDS))
    totals = [task.total(chosen).get(metric, 0.0) for chosen in rounds]
    low, high = np.quantile(totals, [0.025, 0.975])
    return float(low), float(high)


def _units(task: Task, scored: Sequence[Scored]) -> list[list[list[Scored]]]:
    """For each group what is drawn within it, each the items that go together."""
    found: dict[str, dict[str, list[Scored]]] = defaultdict(lambda: defaultdict(list))
    for i, item in enumerate(scored):
        found[task.group(item.record)][task.unit(item.record) or f"item {i}"].append(item)
    return [list(units.values()) for units in found.values()]


def table(results: Results, task: str, audit: Audit | None = None) -> Table:
    """One row a group: its first metric under every condition, of the first one with the 95% interval, chance, number
    of items, and what the audit says where something is missing."""
    conditions = list(results.get(task, {}))
    rows = audit[task] if audit else {}
    says = (rows.get(ALL, {}).get("says") or "everything expected was fed") if rows else None
    told = any(row["says"] for row in rows.values())
    drawn = Table(title=f"task {task}", caption=says, caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("group", no_wrap=True)
    for name in (*conditions, "chance", "n"):
        drawn.add_column(name, justify="right", no_wrap=True)
    if told:
        drawn.add_column("fed")
    found = {group for condition in conditions for group in results[task][condition]}
    for group in sorted(found | (rows.keys() - {ALL} if len(rows) > 1 else rows.keys())):
        scores = [results[task][condition].get(group) for condition in conditions]
        first: Mapping[str, Any] = next((s for s in scores if s), {})
        chance = f"{first['chance']:.3f}" if "chance" in first else ""
        fed = [rows[group]["says"] or "all" if group in rows else ""] * told
        whole, _, part = group.partition("/")
        shown = [_shown(metrics, sure=i == 0) for i, metrics in enumerate(scores)]
        drawn.add_row(f"  {part}" if part else whole, *shown, chance, str(first.get("n", 0)), *fed)
    return drawn


def _shown(metrics: Mapping[str, Any] | None, sure: bool) -> str:
    if metrics is None:
        return ""
    low, high = metrics["interval"]
    return f"{next(iter(metrics.values())):.3f}" + (f" ({_short(low)}-{_short(high)})" if sure else "")


def _short(bound: float) -> str:
    return f"{bound:.2f}".removeprefix("0")
