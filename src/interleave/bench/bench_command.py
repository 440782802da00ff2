"""``interleave bench``: runs the benchmarks that are named and writes their tables."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console

from ..core.errors import InputError, hint
from .bench_table import BenchTable, print_table, write_bench
from .effort import FULL, QUICK, Effort

BENCHMARKS: Mapping[str, tuple[str, str]] = {
    "training": ("training_peers", "compare_training"),
    "loss": ("kernel_peers", "compare_loss_heads"),
    "attention": ("kernel_peers", "compare_attention"),
    "input": ("input_speed", "compare_input"),
    "generation": ("generation_peers", "compare_generation"),
    "start": ("command_starts", "compare_starts"),
    "growth": ("growth", "compare_growth"),
    "ranks": ("rank_growth", "compare_runs"),
    "gpu": ("gpu_steps", "compare_gpu_steps"),
}
"""Name -> module and function; imported only when it runs, so that help needs no torch."""


def bench_command(arguments: Sequence[str]) -> None:
    """Run the benchmarks that are named, all where none is. Raises InputError for an unknown name."""
    parser = argparse.ArgumentParser(prog="interleave bench", description="Measure the package on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all where none is given")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder of bench.json and bench.md")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, each side once: to see that it runs")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in BENCHMARKS:
            raise InputError(f"there is no benchmark {name!r}{hint(name, BENCHMARKS)}")
    run_benchmarks(options.names or list(BENCHMARKS), QUICK if options.quick else FULL, options.out)


def run_benchmarks(names: Sequence[str], effort: Effort, out: Path) -> list[BenchTable]:
    """Measure, print and write after each benchmark, so that one that fails takes nothing with it."""
    console = Console()
    tables: list[BenchTable] = []
    for name in names:
        module, function = BENCHMARKS[name]
        compare: Callable[[Effort], list[BenchTable]] = getattr(import_module(f".{module}", __package__), function)
        measured = compare(effort)
        for table in measured:
            print_table(table, console)
        tables += measured
        files = write_bench(out, tables)
    console.print(f"tables: {files[0]}, {files[1]}", soft_wrap=True)
    return tables
