"""How whole runs of ``interleave train`` grow with samples and with gloo ranks."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import InputError
from .bench_table import BenchCell, BenchTable
from .effort import Effort
from .growth import growth_table
from .stopwatch import growth_exponent

SHORT, LONG = 3, 13
"""Steps of the two runs whose difference is the time of a step: what starting takes falls out."""


def compare_runs(effort: Effort) -> list[BenchTable]:
    """Seconds a step on 1, 2 and 4 ranks of gloo, and seconds to the end of a short run by number of records."""
    full = effort.shape != "tiny"
    with tempfile.TemporaryDirectory() as folder:
        ranks = _ranks(Path(folder), (1, 2, 4) if full else (1,))
        counts = [1000 * 10**power for power in range(effort.sizes - 1 if full else 2)]
        starts = {n: run_seconds(record_overrides(Path(folder), n), Path(folder)) for n in counts}
    return [ranks, growth_table("ranks", "A run of one step, from command to end, by records", starts)]


def _ranks(folder: Path, worlds: Sequence[int]) -> BenchTable:
    seconds: dict[int, float] = {}
    for world in worlds:
        spent = {steps: run_seconds(rank_overrides(folder, world, steps), folder) for steps in (SHORT, LONG)}
        seconds[world] = max(1e-3, (spent[LONG] - spent[SHORT]) / (LONG - SHORT))
    rows: list[list[BenchCell]] = [[str(world), step, world / step] for world, step in seconds.items()]
    note = f"All ranks share {os.cpu_count()} cores."
    if len(seconds) > 1:
        note += f" Exponent of seconds a step {growth_exponent(seconds):.2f}."
    title = "A DDP step of the quickstart's model by gloo ranks, each with rows of its own"
    return BenchTable("ranks", title, ("ranks", "seconds a step", "rows/s, of one a rank"), rows, note)


def rank_overrides(folder: Path, world: int, steps: int) -> list[str]:
    """Overrides of ``interleave train``: so many steps of the quickstart on so many ranks of gloo."""
    return [
        "experiment=quickstart", "task=[]", "trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={world}",
        "trainer.precision=32-true", f"trainer.strategy={'ddp' if world > 1 else 'auto'}", "logger=none",
        f"trainer.max_steps={steps}", "dataset.mini.scenes=200", f"dataset.mini.root={folder / 'mini'}",
        "callbacks.progress=null", f"run={folder / f'{world}-{steps}'}",
    ]  # fmt: skip


def record_overrides(folder: Path, count: int) -> list[str]:
    """Overrides of ``interleave train``: one step over so many records, which are written to ``folder``."""
    annotations = folder / f"{count}.jsonl"
    with annotations.open("w", encoding="utf-8") as file:
        for number in range(count):
            turns = [{"from": "human", "value": f"What is {number}?"}, {"from": "gpt", "value": "It is a number."}]
            file.write(json.dumps({"id": number, "conversations": turns}) + "\n")
    return [
        "dataset=[llava_json]", f"dataset.llava_json.path={annotations}", f"dataset.llava_json.media={folder}",
        "trainer.max_steps=1", "logger=none", "callbacks.progress=null", "data.sequence_length=256",
        f"run={folder / f'records-{count}'}",
    ]  # fmt: skip


def run_seconds(overrides: Sequence[str], folder: Path) -> float:
    """Wall seconds of ``interleave train``, whose indexes of records lie in ``folder``. Raises InputError where it
    fails."""
    command = [sys.executable, "-m", "interleave.cli", "train", *overrides]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env={**os.environ, "INTERLEAVE_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        line = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InputError(f"interleave train failed with {done.returncode}: {line}")
    return time.perf_counter() - started
