"""``interleave ablate``: train and ask every arm with every seed, and make the table of what came out."""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from ..core.errors import InputError
from .ablation import Ablation, Arm, ScoreRow, known_ablations, read_ablation
from .runs import GroupMetrics, Runs
from .tables import ablation_table, write_tables


class AblationJob(NamedTuple):
    """An arm that is trained with one seed."""

    name: str
    arm: Arm
    seed: int


Answers = Mapping[str, GroupMetrics]
"""Way of asking -> what it found in one run."""


def ablate_command(arguments: Sequence[str]) -> None:
    """Run the ablations that are named, all where none is. Raises InputError."""
    known = known_ablations()
    parser = argparse.ArgumentParser(prog="interleave ablate", description=f"Ablations: {', '.join(known)}.")
    parser.add_argument("what", nargs="*", help="names of ablations, then overrides of interleave train")
    parser.add_argument("--out", default="runs/ablate", help="folder; what lies there is not done again")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="runs at once; they share the cores (2)")
    options = parser.parse_intermixed_args(arguments)
    names = [word for word in options.what if "=" not in word] or known
    overrides = [word for word in options.what if "=" in word]
    if options.jobs < 1:
        raise InputError(f"--jobs is {options.jobs}; it must be at least 1")
    ablations = {name: read_ablation(name) for name in names}  # all are read before the first one runs
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    out = Path(options.out)
    tables: dict[str, list[ScoreRow]] = {}
    for name, ablation in ablations.items():
        tables[name] = run_ablation(ablation, Runs(out / name, overrides, threads), options.seeds, options.jobs)
        Console().print(ablation_table(ablation, tables[name]))
    write_tables(out, ablations, tables, options.seeds)
    Console().print(f"tables: {out / 'ablations.md'}", soft_wrap=True)


def run_ablation(ablation: Ablation, runs: Runs, seeds: Sequence[int], jobs: int) -> list[ScoreRow]:
    """Train every arm with every seed and ask each in every way, ``jobs`` at once. Raises InputError."""
    console = Console(stderr=True)

    def train_and_ask(job: AblationJob) -> Answers:
        more = [f"init={_before(runs, job.seed)}"] if job.arm.init else []
        run = runs.train(runs.out / f"{_slug(job.name)}-{job.seed}", job.arm.experiment, job.seed, more)
        answers: dict[str, GroupMetrics] = {}
        for how, overrides in ablation.asked.items():
            answers[how] = runs.ask(run, how, ablation.task, overrides)
        console.print(f"{ablation.title}: {job.name}, seed {job.seed}", soft_wrap=True)
        return answers

    with ThreadPoolExecutor(jobs) as pool:
        before = ablation.before
        if before:  # first, since arms begin with its weights; list() waits, and raises what a thread raised
            list(pool.map(lambda seed: runs.train(_before(runs, seed), before, seed), seeds))
        work: list[AblationJob] = []
        for name, arm in ablation.arms.items():
            work += [AblationJob(name, arm, seed) for seed in seeds]
        answers_of_jobs = list(pool.map(train_and_ask, work))
    found = {(job.name, job.seed): answers for job, answers in zip(work, answers_of_jobs, strict=True)}
    return _rows(ablation, found, seeds)


def _before(runs: Runs, seed: int) -> Path:
    """Folder of the run whose weights arms begin with."""
    return runs.out / f"before-{seed}"


def _slug(name: str) -> str:
    """A name of an arm as the name of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _rows(ablation: Ablation, found: Mapping[tuple[str, int], Answers], seeds: Sequence[int]) -> list[ScoreRow]:
    """A row for each arm and way of asking. found: name of the arm and seed -> answers. Raises InputError."""
    rows: list[ScoreRow] = []
    for arm in ablation.arms:
        for how in ablation.asked:
            results = [found[arm, seed][how] for seed in seeds]
            scores = {column: _percents(ablation.title, column, results) for column in ablation.columns}
            rows.append(ScoreRow(arm, how, scores))
    return rows


def _percents(title: str, column: str, results: Sequence[GroupMetrics]) -> list[float]:
    """The first metric of a column in percent, for each seed. Raises InputError where the results lack the column."""
    scores: list[float] = []
    for groups in results:
        if column not in groups:
            known = ", ".join(groups)
            raise InputError(f"{title}: the results have no group {column!r}; they have {known}")
        scores.append(100 * float(next(iter(groups[column].values()))))
    return scores
