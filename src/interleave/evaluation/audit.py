"""What was expected and what was fed, for each group of a task: the only place that decides whether a row is whole."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..interfaces.judge import JudgedTask
from ..interfaces.task import Task
from .reply import Reply, short_hash

ALL = "all"
"""The row of a whole task."""
OVER_LENGTH = "over-length"

Row = dict[str, Any]
Audit = dict[str, dict[str, Row]]
"""task -> group -> what was expected and fed."""


def groups(group: str) -> set[str]:
    """The rows that an item counts for."""
    whole, _, part = group.partition("/")
    return {whole, group} if part else {whole}


def audit(
    task: Task, generation: Mapping[str, Any], replies: Sequence[tuple[Reply, float]], before: Mapping[str, Row]
) -> dict[str, Row]:
    """Rows of one task; ``all`` is the whole of it.

    replies: to every record, with seconds. before: rows of an earlier run, whose seconds are added.
    """
    members: dict[str, list[tuple[Reply, float]]] = defaultdict(list)
    for reply, seconds in replies:
        for group in {ALL, *groups(reply.group)}:
            members[group].append((reply, seconds))
    records = len(task.records())
    rows: dict[str, Row] = {}
    for group in sorted(members, key=lambda name: (name != ALL, name)):
        asked = [reply for reply, _ in members[group]]
        expected = (task.expected or records) if group == ALL else len(asked)
        spent = sum(seconds for _, seconds in members[group]) + before.get(group, {}).get("seconds", 0)
        rows[group] = _row(task, asked, expected, records if group == ALL else len(asked))
        rows[group] |= {"generation": dict(generation), "seconds": round(spent, 2)}
        rows[group]["says"] = says(rows[group])
    return rows


def _row(task: Task, asked: Sequence[Reply], expected: int, records: int) -> Row:
    lost = Counter(reply.error["reason"] for reply in asked if reply.error)
    run = [reply for reply in asked if not reply.error]
    shown = [sum(pair) for pair in zip(*(reply.visuals for reply in asked), strict=True)] or [0, 0]
    over, shortened = lost.pop(OVER_LENGTH, 0), sum(bool(reply.shortened) for reply in run)
    ungraded = sum(reply.scores is None for reply in run)
    metric = next((next(iter(reply.scores), "") for reply in run if reply.scores), "")
    row: Row = {
        "expected": expected,
        "found": records,
        "run": len(run),
        "visuals_expected": shown[0],
        "visuals_fed": shown[1],
        "views": sum(reply.views for reply in run),
        "unreadable": lost.total(),
        "reasons": dict(sorted(lost.items())),
        "over_length": over,
        "truncated": sum(reply.truncated for reply in run),
        "shortened": shortened,
        "ungraded": ungraded,
        "prompt_hash": short_hash(*(reply.prompt_hash for reply in asked)),
        "metric": metric,
        "version": task.version,
        "judged": isinstance(task, JudgedTask),
        "prompt_tokens": sum(reply.prompt_tokens for reply in run),
        "reply_tokens": sum(reply.reply_tokens for reply in run),
    }
    whole = expected == records == len(asked) == len(run) and shown[0] == shown[1] and not shortened and not ungraded
    return {**row, "complete": whole}


def says(row: Row) -> str:
    """Every difference between what was expected and what was fed in one line; empty where there is none."""
    return "; ".join(_differences(row))


def _differences(row: Row) -> Iterable[str]:
    expected, found, run = row["expected"], row["found"], row["run"]
    if found != expected:
        yield f"{found} items found, {expected} expected"
    lost = row["unreadable"] + row["over_length"]
    if run != found:
        yield f"{run} of {found} items run"
    if row["unreadable"]:
        listed = ", ".join(f"{n} {reason}" for reason, n in row["reasons"].items())
        yield f"{row['unreadable']} unreadable ({listed})"
    if row["over_length"]:
        yield f"{row['over_length']} over-length"
    if (missing := found - run - lost) > 0:
        yield f"{missing} not asked"
    if row["visuals_fed"] != row["visuals_expected"]:
        yield f"{row['visuals_fed']} of {row['visuals_expected']} visuals fed"
    if row["shortened"]:
        yield f"{row['shortened']} shortened"
    if row["truncated"]:
        yield f"{row['truncated']} replies cut at max_new_tokens"
    if row["ungraded"]:
        yield f"{row['ungraded']} not graded"
