"""What was expected and what was fed, for each group of a task: the only place that decides whether a row is whole."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from ..core.files import JSONObject
from ..interfaces.judge import JudgedTask
from ..interfaces.task import Task
from .reply import Reply, short_hash
from .reply_journal import TimedReply

ALL = "all"
"""The row of a whole task."""
OVER_LENGTH = "over-length"
"""The reason of an error that has a count of its own."""


@dataclass(frozen=True)
class AuditRow:
    """What was expected of a group of items, and what became of it.

    expected: items that there should be.
    found: items that the files hold.
    run: items that have a reply.
    visuals_expected: pictures (of a list each one), videos and scenes of all items.
    visuals_fed: how many of them reached the model.
    views: squares of pixels that reached the model.
    unreadable: items that could not be asked, those that are too long left out.
    reasons: those items by reason.
    over_length: items whose prompt is longer than it may be.
    truncated: replies that had not ended at ``max_new_tokens``.
    shortened: items that were fed in part.
    ungraded: replies without scores, because no judge has graded them.
    prompt_hash: of all prompts.
    metric: the main metric; empty where no reply has scores.
    version: the task's.
    judged: whether a judge grades the task.
    prompt_tokens: of all items with a reply, with what stands for visuals.
    reply_tokens: tokens that were generated.
    complete: all items found and run, all visuals fed, all replies graded. Truncated replies leave a row complete.
    generation: options by which replies were generated.
    seconds: of all processes, added up, over all runs that asked these items.
    says: every difference between expected and fed in one line; empty where there is none.
    """

    expected: int = 0
    found: int = 0
    run: int = 0
    visuals_expected: int = 0
    visuals_fed: int = 0
    views: int = 0
    unreadable: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    over_length: int = 0
    truncated: int = 0
    shortened: int = 0
    ungraded: int = 0
    prompt_hash: str = ""
    metric: str = ""
    version: str = ""
    judged: bool = False
    prompt_tokens: int = 0
    reply_tokens: int = 0
    complete: bool = False
    generation: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0
    says: str = ""

    def to_json(self) -> dict[str, object]:
        """Field -> value, in the order of the fields: a row of ``audit`` in ``results.json``."""
        # unlike ``asdict`` it leaves the options of generation as they are
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, content: JSONObject) -> "AuditRow":
        """The row that ``to_json`` wrote. A field that a file of another version lacks has its default."""
        known = {f.name: content[f.name] for f in fields(cls) if f.name in content}
        return cls(**known)


AuditRows = dict[str, AuditRow]
"""Group of a task -> its row."""
Audit = dict[str, AuditRows]
"""Task -> its rows."""


def rows_from_json(content: Mapping[str, JSONObject]) -> AuditRows:
    """A task's rows as ``audit`` of ``results.json`` has them."""
    return {group: AuditRow.from_json(row) for group, row in content.items()}


def rows_to_json(rows: Mapping[str, AuditRow]) -> dict[str, dict[str, object]]:
    """A task's rows as ``audit`` of ``results.json`` has them."""
    return {group: row.to_json() for group, row in rows.items()}


def rows_of(group: str) -> set[str]:
    """The rows that an item of a group counts for: ``a/b`` also for ``a``."""
    whole, _, part = group.partition("/")
    return {whole, group} if part else {whole}


def audit(
    task: Task, generation: Mapping[str, object], replies: Sequence[TimedReply], before: Mapping[str, AuditRow]
) -> AuditRows:
    """The rows of one task, that of the whole task first.

    replies: to every record. before: rows of an earlier run, whose seconds are added.
    """
    members: dict[str, list[TimedReply]] = defaultdict(list)
    for timed in replies:
        # an item counts once even where its group is called "all"
        for group in {ALL, *rows_of(timed.reply.group)}:
            members[group].append(timed)
    num_records = len(task.records())
    rows: AuditRows = {}
    for group in sorted(members, key=lambda name: (name != ALL, name)):  # the whole task first
        asked = [timed.reply for timed in members[group]]
        found = num_records if group == ALL else len(asked)
        # only of the whole task is it known how many items there should be
        expected = (task.expected or num_records) if group == ALL else len(asked)
        earlier = before[group].seconds if group in before else 0
        seconds = round(sum(timed.seconds for timed in members[group]) + earlier, 2)
        row = replace(_row(task, asked, expected, found), generation=dict(generation), seconds=seconds)
        rows[group] = replace(row, says="; ".join(_differences(row)))
    return rows


def _row(task: Task, asked: Sequence[Reply], expected: int, found: int) -> AuditRow:
    """Everything but generation, seconds and what the row says."""
    reasons = Counter(reply.error["reason"] for reply in asked if reply.error)
    over_length = reasons.pop(OVER_LENGTH, 0)  # counted apart: these can be mended by an option
    run = [reply for reply in asked if not reply.error]
    visuals_expected = sum(reply.visuals[0] for reply in asked)
    visuals_fed = sum(reply.visuals[1] for reply in asked)
    shortened = sum(bool(reply.shortened) for reply in run)
    ungraded = sum(reply.scores is None for reply in run)
    everything_run = expected == found == len(asked) == len(run)
    return AuditRow(
        expected=expected,
        found=found,
        run=len(run),
        visuals_expected=visuals_expected,
        visuals_fed=visuals_fed,
        views=sum(reply.views for reply in run),
        unreadable=reasons.total(),
        reasons=dict(sorted(reasons.items())),
        over_length=over_length,
        truncated=sum(reply.truncated for reply in run),
        shortened=shortened,
        ungraded=ungraded,
        prompt_hash=short_hash(*(reply.prompt_hash for reply in asked)),
        metric=_main_metric(run),
        version=task.version,
        judged=isinstance(task, JudgedTask),
        prompt_tokens=sum(reply.prompt_tokens for reply in run),
        reply_tokens=sum(reply.reply_tokens for reply in run),
        complete=everything_run and visuals_expected == visuals_fed and not shortened and not ungraded,
    )


def _main_metric(run: Sequence[Reply]) -> str:
    for reply in run:
        if reply.scores:
            return next(iter(reply.scores))
    return ""


def _differences(row: AuditRow) -> Iterator[str]:
    if row.found != row.expected:
        yield f"{row.found} items found, {row.expected} expected"
    if row.run != row.found:
        yield f"{row.run} of {row.found} items run"
    if row.unreadable:
        listed = ", ".join(f"{count} {reason}" for reason, count in row.reasons.items())
        yield f"{row.unreadable} unreadable ({listed})"
    if row.over_length:
        yield f"{row.over_length} over-length"
    # items without a line at all, such as those of an evaluation that asks a part
    not_asked = row.found - row.run - row.unreadable - row.over_length
    if not_asked > 0:
        yield f"{not_asked} not asked"
    if row.visuals_fed != row.visuals_expected:
        yield f"{row.visuals_fed} of {row.visuals_expected} visuals fed"
    if row.shortened:
        yield f"{row.shortened} shortened"
    if row.truncated:
        yield f"{row.truncated} replies cut at max_new_tokens"
    if row.ungraded:
        yield f"{row.ungraded} not graded"
