"""``interleave ablate``: experiments side by side, with several seeds each, and the table of what came out."""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib
import yaml
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table

from .core.errors import InputError, hint
from .core.options import check

FOLDER = Path(str(files("interleave.conf"))) / "ablation"


@dataclass(frozen=True)
class Arm:
    """One way to train. init: begin with the weights of what the ablation trains ``before``."""

    experiment: str
    init: bool = False


@dataclass(frozen=True)
class Ablation:
    """A file of ``conf/ablation``.

    before: an experiment that is trained once for each seed. asked: overrides of ``interleave eval`` for each way of
    asking. task: overrides that choose what is asked. columns: groups of the task.
    """

    title: str
    arms: Mapping[str, Arm]
    task: tuple[str, ...]
    columns: tuple[str, ...]
    before: str | None = None
    asked: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"": ()})


@dataclass(frozen=True)
class Row:
    """Scores in percent of an arm under one way of asking: column -> one for each seed."""

    arm: str
    asked: str
    scores: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Runs:
    """Where runs lie and how they are started. threads: of each process."""

    out: Path
    overrides: Sequence[str]
    threads: int

    def train(self, run: Path, experiment: str, seed: int, more: Sequence[str] = ()) -> Path:
        """A run that is there whole is not trained again."""
        if not (run / "model.safetensors").exists():
            chosen = [f"experiment={experiment}", f"seed={seed}", f"run={run}", "callbacks.progress=null"]
            self._call(run, "train", [*chosen, *more, *self.overrides])
        return run

    def ask(self, run: Path, name: str, task: Sequence[str], how: Sequence[str]) -> Mapping[str, Any]:
        """The results of one way of asking: group -> metrics."""
        out = run / f"asked-{name or 'so'}"
        if not (out / "results.json").exists():
            same = [f"task.mini.{o.removeprefix('dataset.mini.')}" for o in self._mini(run) if "task=mini" in task]
            self._call(out, "eval", [f"model={run}", f"out={out}", *task, *same, *how])
        conditions = next(iter(json.loads((out / "results.json").read_text(encoding="utf-8"))["results"].values()))
        groups: Mapping[str, Any] = next(iter(conditions.values()))
        return groups

    def _mini(self, run: Path) -> list[str]:
        node = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["dataset"]["mini"]
        return [f"dataset.mini.{key}={node[key]}" for key in ("root", "scenes", "seed")]

    def _call(self, folder: Path, command: str, arguments: Sequence[str]) -> None:
        """A process of its own, so that several run at once and each begins alike. Raises InputError."""
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        with (folder / f"{command}.log").open("w", encoding="utf-8") as log:
            line = [sys.executable, "-m", "interleave.cli", command, *arguments]
            done = subprocess.run(line, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
        if done.returncode:
            raise InputError(f"interleave {command} failed with {done.returncode}; {log.name} has its output")


def ablate_command(arguments: Sequence[str]) -> None:
    """Run the ablations that are asked for, all where none is named. Raises InputError."""
    known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    parser = argparse.ArgumentParser(prog="interleave ablate", description=f"Ablations: {', '.join(known)}.")
    parser.add_argument("what", nargs="*", help="names of ablations, then overrides of interleave train")
    parser.add_argument("--out", default="runs/ablate", help="folder; what lies there is not done again")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="runs at once; they share the cores (2)")
    asked = parser.parse_intermixed_args(arguments)
    names = [name for name in asked.what if "=" not in name] or known
    overrides = [override for override in asked.what if "=" in override]
    if asked.jobs < 1:
        raise InputError(f"--jobs is {asked.jobs}; it must be at least 1")
    ablations = {name: read(name, known) for name in names}
    threads = max(1, (os.cpu_count() or 1) // asked.jobs)
    tables: dict[str, list[Row]] = {}
    for name, ablation in ablations.items():
        runs = Runs(Path(asked.out) / name, overrides, threads)
        tables[name] = ablate(ablation, runs, asked.seeds, asked.jobs)
        Console().print(table(ablation, tables[name]))
    write(Path(asked.out), ablations, tables, asked.seeds)
    Console().print(f"tables: {Path(asked.out) / 'ablations.md'}", soft_wrap=True)


def read(name: str, known: Sequence[str]) -> Ablation:
    """Raises InputError for a name that is unknown."""
    if name not in known:
        raise InputError(f"no ablation named {name!r}{hint(name, known)}")
    node = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    made: Ablation = check(f"ablation {name}", node, Ablation)
    return made


def ablate(ablation: Ablation, runs: Runs, seeds: Sequence[int], jobs: int) -> list[Row]:
    """Train every arm with every seed and ask each in every way."""
    console = Console(stderr=True)

    def one(work: tuple[str, Arm, int]) -> dict[str, Mapping[str, Any]]:
        name, arm, seed = work
        more = [f"init={runs.out / f'before-{seed}'}"] if arm.init else []
        run = runs.train(runs.out / f"{_slug(name)}-{seed}", arm.experiment, seed, more)
        results = {how: runs.ask(run, how, ablation.task, extra) for how, extra in ablation.asked.items()}
        console.print(f"{ablation.title}: {name}, seed {seed}", soft_wrap=True)
        return results

    with ThreadPoolExecutor(jobs) as pool:
        if before := ablation.before:
            list(pool.map(lambda seed: runs.train(runs.out / f"before-{seed}", before, seed), seeds))
        work = [(name, arm, seed) for name, arm in ablation.arms.items() for seed in seeds]
        found = dict(zip([(name, seed) for name, _, seed in work], pool.map(one, work), strict=True))
    return list(_rows(ablation, found, seeds))


def _rows(ablation: Ablation, found: Mapping[tuple[str, int], Any], seeds: Sequence[int]) -> Iterator[Row]:
    for arm in ablation.arms:
        for how in ablation.asked:
            results = [found[arm, seed][how] for seed in seeds]
            for column in ablation.columns:
                if missing := [r for r in results if column not in r]:
                    known = ", ".join(missing[0])
                    raise InputError(f"{ablation.title}: the results have no group {column!r}; they have {known}")
            scores = {c: [100 * float(next(iter(r[c].values()))) for r in results] for c in ablation.columns}
            yield Row(arm, how, scores)


def spread(scores: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(scores):.1f} ± {stdev(scores):.1f}" if len(scores) > 1 else f"{scores[0]:.1f}"


def table(ablation: Ablation, rows: Sequence[Row]) -> Table:
    drawn = Table(title=ablation.title, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("trained", *(["asked"] if len(ablation.asked) > 1 else [])):
        drawn.add_column(column)
    for column in ablation.columns:
        drawn.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        names = [row.arm, *([row.asked] if len(ablation.asked) > 1 else [])]
        drawn.add_row(*names, *(spread(row.scores[c]) for c in ablation.columns))
    return drawn


def write(
    out: Path, ablations: Mapping[str, Ablation], tables: Mapping[str, Sequence[Row]], seeds: Sequence[int]
) -> None:
    """``ablations.md``, ``ablations.json`` with every seed's scores, and a plot of each ablation."""
    lines = [f"Percent, mean and standard deviation of seeds {', '.join(map(str, seeds))}.", ""]
    for name, rows in tables.items():
        ablation = ablations[name]
        both = len(ablation.asked) > 1
        head = ["trained", *(["asked"] if both else []), *ablation.columns]
        lines += [f"**{ablation.title}** (`interleave ablate {name}`)", "", "| " + " | ".join(head) + " |"]
        lines += ["|" + "---|" * (1 + both) + "--:|" * len(ablation.columns)]
        for row in rows:
            cells = [row.arm, *([row.asked] if both else []), *(spread(row.scores[c]) for c in ablation.columns)]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        plot(ablation, rows, out / f"{name}.png")
    (out / "ablations.md").write_text("\n".join(lines), encoding="utf-8")
    content = {name: [vars(row) for row in rows] for name, rows in tables.items()}
    (out / "ablations.json").write_text(json.dumps({"seeds": list(seeds), **content}, indent=1), encoding="utf-8")


def plot(ablation: Ablation, rows: Sequence[Row], path: Path) -> None:
    """Bars of the means, and a dot for each seed."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3 + 1.1 * len(ablation.columns), 3.2), layout="constrained")
        axes, width = figure.subplots(), 0.8 / len(rows)
        for number, row in enumerate(rows):
            label = f"{row.arm}, asked {row.asked}" if len(ablation.asked) > 1 else row.arm
            places = [i + number * width for i in range(len(ablation.columns))]
            axes.bar(places, [mean(row.scores[c]) for c in ablation.columns], width * 0.9, label=label, alpha=0.7)
            for place, column in zip(places, ablation.columns, strict=True):
                axes.plot([place] * len(row.scores[column]), row.scores[column], "k.", markersize=4)
        axes.set_xticks([i + 0.4 - width / 2 for i in range(len(ablation.columns))], ablation.columns)
        axes.set(ylabel="%", ylim=(0, 103), title=ablation.title)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
