"""Results of runs side by side: a table for each task, and whether one run is better than another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..evaluation.audit import ALL, AuditRow
from ..evaluation.results import GroupResult
from ..interfaces.task import Task
from ..scoring.significance import compare, verdict
from .gallery import main_score
from .read_runs import ItemKey, Run

AS_IT_IS = "as it is"
"""The condition of an item that was not changed, see ``Task.condition``."""


@dataclass(frozen=True)
class Cell:
    """The main metric of a group. low, high: its 95% interval; None where the run does not say."""

    score: float
    low: float | None
    high: float | None
    num_items: int


@dataclass(frozen=True)
class GroupRow:
    """A group of a task.

    group: its name.
    cells: one for each column; None where the run has no number.
    chance: what a guess scores; None where unknown.
    says: what was not fed as expected; empty where everything was.
    asks: what the group asks, in a sentence; empty where the task does not say.
    """

    group: str
    cells: Sequence[Cell | None]
    chance: float | None
    says: str
    asks: str


@dataclass(frozen=True)
class TaskTable:
    """A task.

    columns: a name for each run and condition.
    rows: one for each group.
    metric: name of the main metric.
    audits: run -> what was expected and fed of the whole task.
    conditions: condition -> what it changes, in a sentence, where the task says so.
    """

    columns: Sequence[str]
    rows: Sequence[GroupRow]
    metric: str
    audits: Mapping[str, AuditRow]
    conditions: Mapping[str, str]


@dataclass(frozen=True)
class Difference:
    """Whether a run is better than the first one. says: in words. unpaired: items that only one of them has scored."""

    task: str
    says: str
    unpaired: int


def task_names(runs: Sequence[Run]) -> list[str]:
    """Every task that a run has results of, in the order of the runs."""
    names: dict[str, None] = {}
    for run in runs:
        names |= dict.fromkeys(run.results)
    return list(names)


def task_table(runs: Sequence[Run], name: str, task: Task | None) -> TaskTable:
    """The table of a task. task: explains its groups and conditions; None where it could not be built."""
    sentences = task.explains() if task else {}
    columns: list[tuple[Run, str]] = []  # run and condition
    for run in runs:
        columns += [(run, condition) for condition in run.results.get(name, {})]
    conditions = list(dict.fromkeys(condition for _, condition in columns))
    results = [run.results[name][condition] for run, condition in columns]
    audits = {run.name: run.audit(name) for run in runs}
    groups: set[str] = set()
    metric = ""
    for column in results:
        groups |= set(column)
        for result in column.values():
            metric = metric or result.main
    rows = []
    for group in sorted(groups):
        found = [column.get(group) for column in results]  # one for each column
        says = {run: audit.get(group, AuditRow()).says for run, audit in audits.items()}
        rows.append(
            GroupRow(
                group=group,
                cells=[_cell(result) for result in found],
                chance=_chance(found),
                says=_joined(says),
                asks=sentences.get(group, ""),
            )
        )
    names = [_column_name(run.name, condition, len(runs), len(conditions)) for run, condition in columns]
    return TaskTable(
        columns=names,
        rows=rows,
        metric=metric,
        audits={run: rows.get(ALL, AuditRow()) for run, rows in audits.items() if rows},
        conditions={condition: sentences[condition] for condition in conditions if condition in sentences},
    )


def _chance(found: Sequence[GroupResult | None]) -> float | None:
    """Of the first column that knows it."""
    for result in found:
        if result and result.chance is not None:
            return result.chance
    return None


def _column_name(run: str, condition: str, num_runs: int, num_conditions: int) -> str:
    """Only as much as tells the columns apart."""
    if num_conditions == 1:
        return run
    return condition if num_runs == 1 else f"{run}, {condition}"


def _cell(result: GroupResult | None) -> Cell | None:
    if result is None:
        return None
    low, high = result.interval or (None, None)  # files of other programs may have none
    return Cell(result.score, low, high, result.num_items)


def _joined(says: Mapping[str, str]) -> str:
    """What the audits of several runs say of a group: once where all say the same, else run by run."""
    said = {run: text for run, text in says.items() if text}
    if len(set(said.values())) <= 1 and len(said) == len(says):
        return next(iter(said.values()), "")
    return "; ".join(f"{run}: {text}" for run, text in said.items())


def differences(runs: Sequence[Run]) -> Iterator[Difference]:
    """For each task whether a later run is better than the first one, on the items that both have scored."""
    for task in task_names(runs):
        for other in runs[1:]:
            scores: list[float] = []
            other_scores: list[float] = []
            for key, reply in runs[0].replies.items():
                if key[0] != task or key not in other.replies:
                    continue
                mine, theirs = main_score(reply), main_score(other.replies[key])
                if mine is not None and theirs is not None:
                    scores.append(mine)
                    other_scores.append(theirs)
            if scores:  # a paired comparison needs items of both
                says = verdict(compare((scores, other_scores)), runs[0].name, other.name)
                every = _items_of(task, runs[0]) | _items_of(task, other)
                yield Difference(task, says, len(every) - len(scores))


def _items_of(task: str, run: Run) -> set[ItemKey]:
    return {key for key in run.replies if key[0] == task}
