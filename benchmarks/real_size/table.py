"""The table of what was measured: on the terminal, as Markdown and as JSON, beside an earlier one if there is one."""

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from .clock import Measured

COLUMNS = ("measured", "seconds", "peak MiB", "note")


def about() -> dict[str, str]:
    """Date, machine and versions."""
    versions = {name: version(name) for name in ("torch", "transformers", "lightning")}
    return {"date": str(date.today()), "python": platform.python_version(), **versions,
            "threads": str(torch.get_num_threads()), "cpu": _cpu()}  # fmt: skip


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def table_rows(lines: Sequence[Measured], before: Mapping[str, Measured]) -> list[list[str]]:
    """Cells of the table. before: lines of an earlier table by what they measured; each shows as ``before -> now``."""
    rows = []
    for line in lines:
        old = before.get(line.what)
        seconds = _arrow(old and f"{old.seconds:.3g}", f"{line.seconds:.3g}")
        peak = _arrow(old and f"{old.peak:.0f}", f"{line.peak:.0f}")
        rows.append([line.what, seconds, peak, line.note])
    return rows


def _arrow(old: str | None, new: str) -> str:
    return f"{old} → {new}" if old else new


def show(rows: Sequence[Sequence[str]]) -> None:
    """Print the table."""
    table = Table()
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in ("seconds", "peak MiB") else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def markdown(rows: Sequence[Sequence[str]], machine: Mapping[str, str]) -> str:
    """The table as Markdown, with what it was measured on above."""
    head = [", ".join(f"{key} {value}" for key, value in machine.items()), ""]
    head += ["| " + " | ".join(COLUMNS) + " |", "|---|--:|--:|---|"]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def read_lines(path: Path) -> dict[str, Measured]:
    """Lines of a JSON file that ``write`` wrote, by what they measured."""
    content = json.loads(path.read_text())
    lines = [Measured(**line) for line in content["lines"]]
    return {line.what: line for line in lines}


def write(folder: Path, lines: Sequence[Measured], rows: Sequence[Sequence[str]]) -> None:
    """``real_size.json`` and ``real_size.md`` in ``folder``."""
    machine = about()
    content = {"about": machine, "lines": [line._asdict() for line in lines]}
    (folder / "real_size.json").write_text(json.dumps(content, indent=1))
    (folder / "real_size.md").write_text(markdown(rows, machine))
