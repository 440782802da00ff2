"""Scores of single replies -> what a task has achieved, by condition and group, with intervals; and the table of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from ..core.files import JSONObject
from ..interfaces.task import Scored, Task
from ..scoring.significance import interval
from .audit import ALL, Audit, AuditRows, rows_of
from .reply import Reply

DRAWS = 200
"""Resamples for the interval of a metric that is no mean over items."""
MAX_CONDITION_COLUMNS = 3
"""Conditions that have a column each in a table of 80 characters; more of them get a row each instead."""
NO_METRICS = ("chance", "n", "interval")
"""Keys of a group in ``results.json`` that stand beside its metrics."""


@dataclass(frozen=True)
class GroupResult:
    """What a model achieved on the scored items of a group under one condition.

    metrics: name -> value over all items, the main metric first.
    main: name of the metric that tables show.
    interval: 95% confidence interval of the main metric, (low, high); None where a file does not say.
    chance: mean score of a guess, over the items of which it is known; None where it is known of none.
    num_items: items with scores.
    """

    metrics: Mapping[str, float]
    main: str
    interval: tuple[float, float] | None
    chance: float | None
    num_items: int

    @property
    def score(self) -> float:
        """The main metric."""
        return float(self.metrics[self.main])

    def to_json(self) -> dict[str, object]:
        """Metrics, ``chance`` where it is known, ``n`` and ``interval``: a group in ``results.json``."""
        content: dict[str, object] = dict(self.metrics)
        if self.chance is not None:
            content["chance"] = self.chance
        content["n"] = self.num_items
        if self.interval is not None:
            content["interval"] = list(self.interval)
        return content

    @classmethod
    def from_json(cls, content: JSONObject) -> "GroupResult":
        """The group that ``to_json`` wrote: the first key is the main metric."""
        metrics = {name: value for name, value in content.items() if name not in NO_METRICS}
        bounds = content.get("interval")
        return cls(
            metrics=metrics,
            main=next(iter(metrics), ""),
            interval=None if bounds is None else (bounds[0], bounds[1]),
            chance=content.get("chance"),
            num_items=content["n"],
        )


TaskResults = dict[str, dict[str, GroupResult]]
"""Condition -> group -> result."""
Results = dict[str, TaskResults]
"""Task -> its results."""


def results_to_json(results: Mapping[str, TaskResults]) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    """``results`` of ``results.json``: task -> condition -> group -> metrics."""
    content: dict[str, dict[str, dict[str, dict[str, object]]]] = {}  # the file's form
    for task, conditions in results.items():
        content[task] = {}
        for condition, groups in conditions.items():
            content[task][condition] = {group: result.to_json() for group, result in groups.items()}
    return content


def results_from_json(content: Mapping[str, Mapping[str, Mapping[str, JSONObject]]]) -> Results:
    """``results`` of ``results.json``. Raises KeyError where a group has no number of items."""
    results: Results = {}
    for task, conditions in content.items():
        results[task] = {}
        for condition, groups in conditions.items():
            results[task][condition] = {group: GroupResult.from_json(node) for group, node in groups.items()}
    return results


def summarise(replies: Sequence[Reply], tasks: Mapping[str, Task]) -> Results:
    """Metrics over the items of each group that have scores; a group ``a/b`` counts for ``a``, too."""
    members: dict[tuple[str, str, str], list[Reply]] = defaultdict(list)  # (task, condition, group) -> its replies
    for reply in replies:
        if reply.scores is None:
            continue
        for group in rows_of(reply.group):
            members[reply.task, reply.condition, group].append(reply)
    results: Results = {}
    for (task, condition, group), chosen in sorted(members.items()):
        results.setdefault(task, {}).setdefault(condition, {})[group] = _group_result(tasks[task], chosen)
    return results


def _group_result(task: Task, replies: Sequence[Reply]) -> GroupResult:
    records = task.records()
    # ``summarise`` has only replies with scores; the fallbacks are for the types
    scored = [Scored(records[reply.index], reply.reply or "", reply.scores or {}) for reply in replies]
    metrics = dict(task.total(scored))
    main = next(iter(metrics))  # the first one, by the contract of ``Task.score``
    chances = [reply.chance for reply in replies if reply.chance is not None]
    return GroupResult(
        metrics=metrics,
        main=main,
        interval=_confidence_interval(task, scored, main),
        chance=mean(chances) if chances else None,
        num_items=len(scored),
    )


def _confidence_interval(task: Task, scored: Sequence[Scored], metric: str) -> tuple[float, float]:
    """95%, by bootstrap: of the mean over items, or of the task's own total where it has one.

    A total of its own is computed anew on items that are drawn, with repetition, within each group.
    """
    if type(task).total is Task.total:
        bounds = interval([item.scores[metric] for item in scored])
        return bounds.low, bounds.high
    rng = np.random.default_rng(0)  # seeded: the same replies give the same interval
    strata = _strata(task, scored)
    draws = [rng.integers(0, len(units), (DRAWS, len(units))) for units in strata]  # each (DRAWS, units)
    totals = []
    for draw in range(DRAWS):
        resample: list[Scored] = []
        for units, rows in zip(strata, draws, strict=True):
            for unit in rows[draw]:
                resample += units[unit]
        totals.append(task.total(resample).get(metric, 0.0))  # a draw may lack what the metric needs
    low, high = np.quantile(totals, [0.025, 0.975])
    return float(low), float(high)


def _strata(task: Task, scored: Sequence[Scored]) -> list[list[list[Scored]]]:
    """For each group of the task its units: lists of items that are drawn together, see ``Task.unit``."""
    by_group: dict[str, dict[str, list[Scored]]] = defaultdict(lambda: defaultdict(list))
    for number, item in enumerate(scored):
        unit = task.unit(item.record) or f"item {number}"
        by_group[task.group(item.record)][unit].append(item)
    return [list(units.values()) for units in by_group.values()]


def results_table(results: Results, task: str, audit: Audit | None = None) -> Table:
    """The results of one task for a terminal of 80 columns; long names are folded, numbers never cut.

    One row a group: the main metric under each condition, beside the first one its 95% interval, what a guess scores,
    and how many items the first condition has. Below stands what the audit found missing, line by line.
    """
    conditions = list(results.get(task, {}))
    rows = audit[task] if audit else {}
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption_justify="left")
    drawn.title = f"task {task}"
    drawn.caption = _shortfalls(rows) if rows else None
    drawn.add_column("group", overflow="fold")
    # a name of eight letters and its gap take ten columns: more than three leave no room for the groups
    side_by_side = len(conditions) <= MAX_CONDITION_COLUMNS
    if not side_by_side:
        drawn.add_column("condition", overflow="fold")
    scores = conditions if side_by_side else ["score"]
    for number, name in enumerate(scores):
        drawn.add_column(name, justify="right", overflow="fold", min_width=len("0.000"))
        if number == 0:
            drawn.add_column("95%", justify="right", no_wrap=True)
    for name in ("chance", "items"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for group in _groups(results.get(task, {}), rows):
        found = {condition: results[task][condition].get(group) for condition in conditions}
        whole, _, part = group.partition("/")  # ``a/b`` stands indented below ``a``
        label = f"  {part}" if part else whole
        if side_by_side:
            drawn.add_row(label, *_numbers(list(found.values())))
            continue
        for condition, result in found.items():
            drawn.add_row(label, condition, *_numbers([result]))
            label = ""  # the group is named in its first row
    return drawn


def _groups(conditions: TaskResults, rows: AuditRows) -> list[str]:
    """Groups that have results or were to have some; the row of the whole task only where it is the only one."""
    groups = set(rows) if len(rows) <= 1 else set(rows) - {ALL}
    for results in conditions.values():
        groups |= set(results)
    return sorted(groups)


def _numbers(results: Sequence[GroupResult | None]) -> list[str]:
    """The cells of a row: one result for each condition, None where it has none of the group.

    Chance and number of items are those of the first condition that has the group.
    """
    cells = [f"{result.score:.3f}" if result else "" for result in results]
    if results:  # a task without any grade has no condition, and no column for an interval
        bounds = results[0].interval if results[0] else None
        cells.insert(1, f"{bounds[0]:.2f}-{bounds[1]:.2f}" if bounds else "")
    known = next((result for result in results if result), None)
    chance = known.chance if known else None
    return [*cells, "" if chance is None else f"{chance:.3f}", str(known.num_items if known else 0)]


def _shortfalls(rows: AuditRows) -> Text:
    """What was not fed as expected: of the whole task, then of each group."""
    whole = rows[ALL].says if ALL in rows else ""
    lines = [whole or "everything expected was fed"]
    for group, row in rows.items():
        if group != ALL and row.says:
            lines.append(f"{group}: {row.says}")
    return Text("\n".join(lines))
