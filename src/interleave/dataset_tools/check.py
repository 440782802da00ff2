"""``interleave data check``: every annotation and every file, against what there should be."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.table import Table

from ..data.example_source import Source
from .sample_facts import Facts, samples, survey, wide

COLUMNS: Mapping[str, frozenset[str]] = {
    "missing": frozenset({"missing file"}),
    "placeholders": frozenset({"placeholders"}),
    "nothing to learn": frozenset({"nothing to learn", "no answer", "empty answer"}),
    "too large": frozenset({"over-length", "too many views"}),
}
"""Reasons that have a column of their own; all others are ``broken``."""
COLUMN = {reason: column for column, reasons in COLUMNS.items() for reason in reasons}
ROUNDED = 100
"""The paper's table counts in hundreds."""


@dataclass
class Row:
    """One source. read: samples that were looked at. bad: by column."""

    group: str
    samples: int
    expected: int | None
    read: int = 0
    fine: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)

    @property
    def off(self) -> bool:
        return self.expected is not None and abs(self.samples - self.expected) > ROUNDED


def check(source: Source, out: Path, limit: int | None, num_workers: int, strict: bool) -> int:
    """Print a table, write ``check.json`` and ``bad.jsonl`` into ``out``; 1 where something is wrong, else 0.

    A sample that is too large is wrong only where ``data.over_length=error``. strict: a source without samples is
    wrong, too, and one whose number is not the expected one.
    """
    rows = {name: Row(d.group, len(d), d.expected) for name, d in source.datasets.items()}
    out.mkdir(parents=True, exist_ok=True)
    bad: list[Facts] = []
    with (out / "bad.jsonl").open("w", encoding="utf-8") as file:
        for facts in survey(source, limit, num_workers):
            _count(rows[facts.source], facts)
            if facts.reason:
                bad.append(facts)
                kept = {key: getattr(facts, key) for key in ("source", "index", "id", "reason", "message")}
                file.write(json.dumps({**kept, "action": "left out"}, ensure_ascii=False) + "\n")
    (out / "check.json").write_text(json.dumps({n: vars(r) for n, r in rows.items()}, indent=1), encoding="utf-8")
    console = wide()
    console.print(drawn(rows))
    for facts in bad[:20]:
        console.print(f"{facts.reason}: {facts.message}", soft_wrap=True, markup=False, highlight=False)
    console.print(verdict(rows, bad, out), soft_wrap=True, markup=False, highlight=False)
    error = source.room is not None and source.room.over_length == "error"
    wrong = [f for f in bad if error or COLUMN.get(f.reason) != "too large"]
    return int(bool(wrong) or not any(r.fine for r in rows.values()) or (strict and any(r.off for r in rows.values())))


def _count(row: Row, facts: Facts) -> None:
    row.read += 1
    row.repaired.update(facts.notes)
    if facts.reason:
        row.bad[COLUMN.get(facts.reason, "broken")] += 1
    else:
        row.fine += 1


def drawn(rows: Mapping[str, Row]) -> Table:
    """A line for each source that has samples, below its group; columns of what is wrong, where something is."""
    wrong = [c for c in (*COLUMNS, "broken") if any(row.bad[c] for row in rows.values())]
    table = Table(title="data check", box=box.SIMPLE_HEAD)
    table.add_column("source", no_wrap=True)
    for column in ("samples", "expected", "read", "fine", "repaired", *wrong):
        table.add_column(column, justify="right")
    groups: dict[str, list[str]] = defaultdict(list)
    for name, row in rows.items():
        groups[row.group].append(name)
    for group, names in groups.items():
        if group:
            total, wanted = (sum(getattr(rows[n], key) or 0 for n in names) for key in ("samples", "expected"))
            table.add_row(f"[bold]{group}", f"[bold]{total:,}", f"[bold]{wanted:,}" if wanted else "")
        for name in names:
            row = rows[name]
            if row.samples:
                expected = "" if row.expected is None else f"{'[yellow]' if row.off else ''}{row.expected:,}"
                told = [f"{row.samples:,}", expected, f"{row.read:,}", f"{row.fine:,}", _count_of(row.repaired.total())]
                bad = [f"[red]{_count_of(row.bad[c])}" for c in wrong]
                table.add_row(f"  {name}" if group else name, *told, *bad)
    return table


def _count_of(number: int) -> str:
    return f"{number:,}" if number else ""


def verdict(rows: Mapping[str, Row], bad: list[Facts], out: Path) -> str:
    """What to do now, in a few lines."""
    repaired = sum((r.repaired for r in rows.values()), Counter[str]())
    absent = [name for name, row in rows.items() if not row.samples]
    lines = []
    if repaired:
        lines.append("repaired: " + ", ".join(f"{n} {reason}" for reason, n in repaired.most_common()))
    if absent:
        lines.append(f"{len(absent)} of {len(rows)} sources have no samples here: {', '.join(absent)}")
    if not sum(r.read for r in rows.values()):
        lines.append("there is nothing to read")
    elif bad:
        reasons = ", ".join(f"{n} {reason}" for reason, n in Counter(f.reason for f in bad).most_common())
        leave = f"data.quarantine={out / 'bad.jsonl'} leaves them out"
        lines.append(f"{samples(len(bad))} cannot be used ({reasons}); {leave}")
    else:
        lines.append(f"all {sum(r.read for r in rows.values()):,} samples that were read can be used")
    return "\n".join(lines)
