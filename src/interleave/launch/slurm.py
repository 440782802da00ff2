"""A training run as a batch file for SLURM: the only place that knows SLURM's options."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InputError
from ..core.options import Config, check_option

SECONDS_FOR_A_CHECKPOINT = 180
"""How long before its time limit SLURM tells a job, which then writes a checkpoint and queues itself again."""


@dataclass(frozen=True)
class Allocation:
    """What a run asks of a cluster; a process for each device.

    nodes: machines.
    devices: processes on each of them.
    gpus: whether each of these processes has a GPU.
    cpus: cores of each process: its loader workers, its own thread and the one that prepares batches.
    """

    nodes: int
    devices: int
    gpus: bool
    cpus: int

    @classmethod
    def of(cls, config: Config) -> "Allocation":
        """What ``trainer`` and ``data`` of a composed config need. Raises InputError where the number of devices is
        left open: SLURM must know it before there is a machine to count them on."""
        trainer = config["trainer"]
        devices = trainer["devices"]
        if not isinstance(devices, int) or devices < 1:
            raise InputError(
                f"trainer.devices is {devices!r}; a batch file needs a number: trainer.devices=8 for eight on each node"
            )
        nodes = check_option("trainer.num_nodes", trainer.get("num_nodes", 1), int)
        cpus = check_option("data.num_workers", config["data"]["num_workers"], int) + 2
        return cls(nodes, devices, trainer["accelerator"] != "cpu", cpus)


def batch_file(
    config: Config, overrides: Sequence[str], sbatch_options: Sequence[str], setup: Sequence[str], folder: Path
) -> str:
    """The text of a batch file that trains ``config``, and goes on after each time limit until the last step.

    config: composed from ``overrides``, with the run's folder.
    sbatch_options: further options of ``sbatch``, such as ``time=24:00:00``; they replace ours of the same name.
    setup: shell commands before the training, such as ``module load cuda``.
    folder: where the training runs; paths in the overrides are relative to it.
    """
    allocation, run = Allocation.of(config), str(config["run"])
    options = {
        "job-name": str(config["name"]),
        "nodes": str(allocation.nodes),
        "ntasks-per-node": str(allocation.devices),
        "cpus-per-task": str(allocation.cpus),
        "output": f"{run}/slurm-%j.out",
        "open-mode": "append",  # a job that was queued again writes on
        "requeue": "",
        "signal": f"SIGUSR1@{SECONDS_FOR_A_CHECKPOINT}",
    }
    if allocation.gpus:
        options["gpus-per-node"] = str(allocation.devices)
    for option in sbatch_options:
        name, _, value = option.partition("=")  # some have no value, such as exclusive
        options[name] = value
    # the folder is written out: queued again, the same command goes on in it
    named = [override for override in overrides if not override.startswith("run=")] + [f"run={run}"]
    command = shlex.join([sys.executable, "-m", "interleave.cli", "train", *named])
    lines = ["#!/bin/bash"]
    for name, value in options.items():
        lines.append(f"#SBATCH --{name}={value}" if value else f"#SBATCH --{name}")
    lines += ["set -euo pipefail", f"cd {shlex.quote(str(folder))}", *setup]
    lines.append(f"srun --kill-on-bad-exit=1 {command}")  # one task that fails ends the others, which wait for it
    return "\n".join(lines) + "\n"
