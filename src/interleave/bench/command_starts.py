"""How long commands take to answer: each in a process of its own."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence

from .bench_table import BenchCell, BenchTable
from .effort import Effort
from .stopwatch import Side, alternate

COMMANDS_MEASURED: Sequence[Sequence[str]] = (
    ("--help",), ("train", "--help"), ("train", "projector=mpl"), ("score", "--help"), ("report", "--help"),
    ("chat", "--help"), ("data", "--help"), ("plugins", "list"),
)  # fmt: skip
"""Arguments of ``interleave``; ``projector=mpl`` is a mistake, whose message is waited for."""


def compare_starts(effort: Effort) -> list[BenchTable]:
    """Wall seconds of commands that ask for no model, beside the import of torch alone."""
    commands = COMMANDS_MEASURED if effort.shape != "tiny" else COMMANDS_MEASURED[:1]
    sides = {"python -c 'import torch'": _process(["-c", "import torch"])}
    for arguments in commands:
        sides[f"interleave {' '.join(arguments)}"] = _process(["-m", "interleave.cli", *arguments])
    seconds = alternate(sides, effort.rounds)
    rows: list[list[BenchCell]] = [[name, spent] for name, spent in seconds.items()]
    return [BenchTable("start", "Starting", ("command", "seconds"), rows)]


def _process(arguments: Sequence[str]) -> Side:
    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:  # a command must find nothing of the working directory
            subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, check=False)

    return run
