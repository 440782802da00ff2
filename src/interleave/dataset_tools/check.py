"""``interleave data check``: read every annotation and every file, and compare the counts with what there should be."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.table import Table

from ..core.files import replacing
from ..data.example_source import ExampleSource
from ..data.ledger import Entry
from .sample_facts import Facts, count_samples, survey, wide_console

REASON_COLUMNS: Mapping[str, frozenset[str]] = {
    "missing": frozenset({"missing file"}),
    "placeholders": frozenset({"placeholders"}),
    "nothing to learn": frozenset({"nothing to learn", "no answer", "empty answer"}),
    "too large": frozenset({"over-length", "too many views"}),
}
"""Column -> the reasons that it counts; all others are ``broken``."""
COLUMN = {reason: column for column, reasons in REASON_COLUMNS.items() for reason in reasons}
"""Reason -> its column."""
ROUNDED = 100
"""How far a count may be from the expected one, in samples: the paper's table counts in hundreds."""
SHOWN_BAD = 20
"""Bad samples that are printed, at most."""


@dataclass
class SourceRow:
    """One source, as a row of the table and an entry of ``check.json``.

    group: what the source is counted under, such as a domain.
    samples: how many it has.
    expected: how many it should have, where that is known.
    read: samples that were looked at.
    fine: samples that can be used.
    bad: number of samples that cannot, by column of the table.
    repaired: number of repairs, by reason.
    """

    group: str
    samples: int
    expected: int | None
    read: int = 0
    fine: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)

    @property
    def unexpected(self) -> bool:
        """Whether the number of samples is not the expected one."""
        return self.expected is not None and abs(self.samples - self.expected) > ROUNDED

    def add(self, facts: Facts) -> None:
        """Count a sample of the source."""
        self.read += 1
        self.repaired.update(facts.notes)
        if facts.reason:
            self.bad[COLUMN.get(facts.reason, "broken")] += 1
        else:
            self.fine += 1


def check_sources(source: ExampleSource, out: Path, limit: int | None, num_workers: int, strict: bool) -> int:
    """Read samples, print a table, and write ``check.json`` and ``bad.jsonl``.

    source: the data sets and how they are rendered.
    out: a folder.
    limit: samples of each source at most, spread over it; None for all.
    num_workers: processes that read; 0 for this one.
    strict: a source without samples is wrong, too, and one whose number is not the expected one.

    Returns the exit code: 1 where something is wrong, else 0. A sample that is too large is wrong only where
    ``data.over_length=error``.
    """
    # a row also for sources without samples: they are named as absent
    rows = {name: SourceRow(dataset.group, len(dataset), dataset.expected) for name, dataset in source.datasets.items()}
    out.mkdir(parents=True, exist_ok=True)
    bad: list[Facts] = []
    with replacing(out / "bad.jsonl") as part, part.open("w", encoding="utf-8") as file:
        for facts in survey(source, limit, num_workers):
            rows[facts.source].add(facts)
            if facts.reason:
                bad.append(facts)
                # a line of a ledger, so that data.quarantine takes the file
                entry = Entry(facts.source, facts.index, facts.id, facts.reason, facts.message, "left out")
                file.write(entry.line())
    with replacing(out / "check.json") as part:
        part.write_text(json.dumps({name: vars(row) for name, row in rows.items()}, indent=1), encoding="utf-8")
    _print_report(rows, bad, out)
    too_large_is_wrong = source.limits is not None and source.limits.over_length == "error"
    return int(_is_wrong(rows.values(), bad, too_large_is_wrong, strict))


def _print_report(rows: Mapping[str, SourceRow], bad: Sequence[Facts], out: Path) -> None:
    """The table, the first bad samples, and what to do now."""
    console = wide_console()
    console.print(result_table(rows))
    for facts in bad[:SHOWN_BAD]:
        console.print(f"{facts.reason}: {facts.message}", soft_wrap=True, markup=False, highlight=False)
    console.print(advice(rows, bad, out), soft_wrap=True, markup=False, highlight=False)


def _is_wrong(rows: Collection[SourceRow], bad: Sequence[Facts], too_large_is_wrong: bool, strict: bool) -> bool:
    """Whether the command fails: for a bad sample, for data without a usable one, or in ``strict`` for a count."""
    for facts in bad:
        # by default training leaves out what is too large, so that it is no mistake
        if too_large_is_wrong or COLUMN.get(facts.reason) != "too large":
            return True
    if not any(row.fine for row in rows):
        return True
    return strict and any(row.unexpected for row in rows)


def result_table(rows: Mapping[str, SourceRow]) -> Table:
    """A line for each source that has samples, below its group; columns of what is wrong, where something is."""
    wrong: list[str] = []  # columns of bad samples that have an entry
    for column in (*REASON_COLUMNS, "broken"):
        if any(row.bad[column] for row in rows.values()):
            wrong.append(column)
    table = Table(title="data check", box=box.SIMPLE_HEAD)
    table.add_column("source", no_wrap=True)
    for column in ("samples", "expected", "read", "fine", "repaired", *wrong):
        table.add_column(column, justify="right")
    groups: dict[str, list[str]] = defaultdict(list)  # group -> sources, both in the order of the data
    for name, row in rows.items():
        groups[row.group].append(name)
    for group, names in groups.items():
        if group:
            total, expected = 0, 0
            for name in names:
                total += rows[name].samples
                expected += rows[name].expected or 0
            table.add_row(f"[bold]{group}", f"[bold]{total:,}", f"[bold]{expected:,}" if expected else "")
        for name in names:
            if rows[name].samples:  # the verdict lists the others
                table.add_row(f"  {name}" if group else name, *_cells(rows[name], wrong))
    return table


def _cells(row: SourceRow, wrong: Sequence[str]) -> list[str]:
    """What stands in a source's line behind its name. wrong: the columns of bad samples."""
    expected = ""
    if row.expected is not None:  # the brackets are rich's markup for colours
        expected = f"{'[yellow]' if row.unexpected else ''}{row.expected:,}"
    counts = [f"{row.samples:,}", expected, f"{row.read:,}", f"{row.fine:,}", _or_empty(row.repaired.total())]
    return counts + [f"[red]{_or_empty(row.bad[column])}" for column in wrong]


def _or_empty(number: int) -> str:
    """The number; an empty cell for 0."""
    return f"{number:,}" if number else ""


def advice(rows: Mapping[str, SourceRow], bad: Sequence[Facts], out: Path) -> str:
    """What was found and what to do now, in a few lines. out: the folder that holds ``bad.jsonl``."""
    repaired: Counter[str] = Counter()
    absent: list[str] = []
    read = 0
    for name, row in rows.items():
        repaired.update(row.repaired)
        read += row.read
        if not row.samples:
            absent.append(name)
    lines: list[str] = []
    if repaired:
        lines.append(f"repaired: {_by_reason(repaired)}")
    if absent:
        lines.append(f"{len(absent)} of {len(rows)} sources have no samples here: {', '.join(absent)}")
    if not read:
        lines.append("there is nothing to read")
    elif bad:
        reasons = _by_reason(Counter(facts.reason for facts in bad))
        leave_out = f"data.quarantine={out / 'bad.jsonl'} leaves them out"
        lines.append(f"{count_samples(len(bad))} cannot be used ({reasons}); {leave_out}")
    else:
        lines.append(f"all {read:,} samples that were read can be used")
    return "\n".join(lines)


def _by_reason(counts: Counter[str]) -> str:
    """ "3 missing file, 1 placeholders": the most frequent reason first."""
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
