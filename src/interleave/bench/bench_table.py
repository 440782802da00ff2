"""What a benchmark leaves: tables of numbers, which the terminal, Markdown and JSON show alike."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

BenchCell = str | int | float
PACKAGES_MEASURED = ("interleave", "torch", "transformers", "lightning")


@dataclass(frozen=True)
class BenchTable:
    """Numbers of one comparison.

    name: of the benchmark that it belongs to.
    title: what is compared, with sizes and units.
    columns: the first names the rows.
    rows: a cell for each column. Seconds and ratios are floats, counts are ints.
    note: what a reader must know besides.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[BenchCell]]
    note: str = ""


def print_table(table: BenchTable, console: Console) -> None:
    """On the terminal."""
    shown = Table(title=table.title, title_justify="left", caption=table.note or None, caption_justify="left")
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if number else "left")
    for row in table.rows:
        shown.add_row(*(cell_text(cell) for cell in row))
    console.print(shown)


def markdown_table(table: BenchTable) -> str:
    """As Markdown, with a heading."""
    lines = [f"### {table.title}", "", "| " + " | ".join(table.columns) + " |"]
    lines.append("|---|" + "--:|" * (len(table.columns) - 1))
    for row in table.rows:
        lines.append("| " + " | ".join(cell_text(cell) for cell in row) + " |")
    return "\n".join([*lines, "", *([table.note, ""] if table.note else [])])


def cell_text(cell: BenchCell) -> str:
    """Three digits of a float, whole counts."""
    return f"{cell:.3g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell


def write_bench(folder: Path, tables: Sequence[BenchTable]) -> tuple[Path, Path]:
    """``bench.json`` and ``bench.md`` in ``folder``, whose paths are returned."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = machine_facts()
    as_json, as_markdown = folder / "bench.json", folder / "bench.md"
    content = {"machine": machine, "tables": [asdict(table) for table in tables]}
    as_json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    as_markdown.write_text("\n".join([facts, "", *map(markdown_table, tables)]), encoding="utf-8")
    return as_json, as_markdown


def machine_facts() -> Mapping[str, str]:
    """Date, processor, GPU, threads and versions."""
    import torch

    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    facts = {"date": str(date.today()), "processor": _processor(), **gpu, "threads": str(torch.get_num_threads())}
    return {**facts, "python": platform.python_version(), **{name: version(name) for name in PACKAGES_MEASURED}}


def _processor() -> str:
    """The processor's name, where the system says it as Linux does; else its architecture."""
    described = Path("/proc/cpuinfo")
    for line in described.read_text().splitlines() if described.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
