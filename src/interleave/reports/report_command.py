"""``interleave report``: the command line."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ..core.errors import InputError
from ..core.files import JSONObject
from ..interfaces.registry import load_plugins
from ..interfaces.registry import tasks as known_tasks
from ..interfaces.task import Task
from .page import ITEMS, write_report
from .read_runs import Run, read_runs


def report_command(arguments: Sequence[str]) -> None:
    """Write the report of one or several runs and print where it is. Raises InputError.

    arguments: what stands behind ``interleave report``.
    """
    parser = argparse.ArgumentParser(prog="interleave report", description="Results of runs beside the paper's.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a folder with results.json")
    parser.add_argument("--out", type=Path, help="folder of report.html and report.md; the first run's")
    parser.add_argument("--items", type=int, default=ITEMS, help=f"items of each group to show ({ITEMS})")
    asked = parser.parse_args(arguments)
    if asked.items < 0:
        raise InputError(f"--items is {asked.items}; it must be at least 0")
    console = Console(stderr=True)
    runs = read_runs(asked.runs)
    tasks = _tasks(runs, console) if asked.items else {}
    page = write_report(runs, asked.out or asked.runs[0], tasks, asked.items)
    Console().print(f"report: {page}", soft_wrap=True)


def _tasks(runs: Sequence[Run], console: Console) -> Mapping[str, Task]:
    """The tasks as the runs had them; one whose files are gone is shown without pictures, and named."""
    plugins: list[str] = []
    nodes: dict[str, JSONObject] = {}  # of a task that several runs have, the last run's
    for run in runs:
        plugins += run.content.get("plugins", ())
        nodes |= run.content.get("tasks", {})
    load_plugins(plugins)
    built: dict[str, Task] = {}
    for name, node in nodes.items():
        try:
            built[name] = known_tasks.build(node)
        except InputError as error:
            console.print(f"{name} is shown without pictures: {error}", soft_wrap=True)
    return built
