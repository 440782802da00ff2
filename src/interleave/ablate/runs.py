"""Where the runs of an ablation lie, and how they are started: as ``interleave train`` and ``interleave eval``."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import InputError

GroupMetrics = Mapping[str, Mapping[str, Any]]
"""Group of a task -> its metrics, of which the first is the one that tables show."""


@dataclass(frozen=True)
class Runs:
    """The runs of one ablation.

    out: folder that holds them; what lies there complete is not done again.
    overrides: overrides of ``interleave train`` for every run.
    threads: threads that each process may use.
    """

    out: Path
    overrides: Sequence[str]
    threads: int

    def train(self, run: Path, experiment: str, seed: int, more: Sequence[str] = ()) -> Path:
        """Train ``experiment`` into the folder ``run``, unless a whole model lies there; returns ``run``.

        more: overrides of this run alone. Raises InputError.
        """
        if not (run / "model.safetensors").exists():
            chosen = [f"experiment={experiment}", f"seed={seed}", f"run={run}", "callbacks.progress=null"]
            self._call(run, "train", [*chosen, *more, *self.overrides])
        return run

    def ask(self, run: Path, name: str, task: Sequence[str], how: Sequence[str]) -> GroupMetrics:
        """Evaluate ``run`` in the way of asking ``name``, unless its results are there. Raises InputError.

        task: overrides that choose what is asked. how: overrides of this way of asking.
        """
        out = run / f"asked-{name or 'so'}"
        if not (out / "results.json").exists():
            # the mini task must ask about the scenes that the run held back from training
            same_scenes: list[str] = []
            if "task=mini" in task:
                same_scenes = self._mini_overrides(run)
            self._call(out, "eval", [f"model={run}", f"out={out}", *task, *same_scenes, *how])
        results = json.loads((out / "results.json").read_text(encoding="utf-8"))["results"]
        conditions = next(iter(results.values()))  # of the only task
        groups: GroupMetrics = next(iter(conditions.values()))  # of the items as they are
        return groups

    def _mini_overrides(self, run: Path) -> list[str]:
        """Overrides that give the mini task the data on which ``run`` was trained."""
        node = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["dataset"]["mini"]
        return [f"task.mini.{key}={node[key]}" for key in ("root", "scenes", "seed")]

    def _call(self, folder: Path, command: str, arguments: Sequence[str]) -> None:
        """Run a command in a process of its own, so that several run at once and each begins alike.

        Its output goes to a log in ``folder``. Raises InputError where it fails.
        """
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        line = [sys.executable, "-m", "interleave.cli", command, *arguments]
        with (folder / f"{command}.log").open("w", encoding="utf-8") as log:
            done = subprocess.run(line, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
        if done.returncode:
            raise InputError(f"interleave {command} failed with {done.returncode}; {log.name} has its output")
