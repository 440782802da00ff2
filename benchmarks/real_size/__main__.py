"""Rows of the real-size table, one process after another, and the table of all that were measured.

nox -s real_size [-- --only step,reply] [--out FOLDER] [--before FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from interleave.core.errors import InputError

from . import table
from .clock import Measured
from .material import make
from .row import ROWS

TIMEOUT = 600
"""Seconds until a row is given up."""


def measure(name: str, material: Path) -> tuple[list[Measured], str]:
    """What a row measured, and why it stopped before its end; empty where it did not."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.real_size.row", name, str(material), str(result)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
            failure = (
                ""
                if done.returncode == 0
                else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            )
        except subprocess.TimeoutExpired:
            failure = f"not done after {TIMEOUT} s"
        lines = json.loads(result.read_text()) if result.exists() else []
    return [Measured(**line) for line in lines], failure


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s real_size --", description=__doc__)
    parser.add_argument("--only", default=",".join(ROWS), help=f"names with commas between, of {', '.join(ROWS)}")
    parser.add_argument("--out", type=Path, default=Path("runs/real_size"), help="folder of material and tables")
    parser.add_argument(
        "--before", type=Path, help="an earlier real_size.json, whose numbers stand in front of the new"
    )
    options = parser.parse_args()
    names = options.only.split(",")
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise InputError(f"there is no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    before = table.read_lines(options.before) if options.before else {}
    make(options.out / "material")
    kept = options.out / "real_size.json"
    lines = table.read_lines(kept) if kept.exists() else {}  # rows that are not measured now stay
    for name in names:
        started = time.perf_counter()
        measured, failure = measure(name, options.out / "material")
        if failure:
            measured.append(Measured(f"{name} failed", time.perf_counter() - started, 0, 0, failure))
        else:
            lines.pop(f"{name} failed", None)
        lines |= {line.what: line for line in measured}
        print(f"{name}: {time.perf_counter() - started:.0f} s {failure}", flush=True)
        table.write(options.out, list(lines.values()), table.table_rows(list(lines.values()), before))
    table.show(table.table_rows(list(lines.values()), before))


if __name__ == "__main__":
    main()
