"""``interleave launch``: write, and where asked submit, the batch file of a training run."""

import argparse
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import InputError


def launch_command(arguments: Sequence[str]) -> None:
    """``interleave launch slurm [options] OVERRIDES``. Raises InputError for whatever ``interleave train`` would
    refuse, and where ``sbatch`` fails."""
    parser = argparse.ArgumentParser(prog="interleave launch", description="Hand a training run to a cluster.")
    parser.add_argument("cluster", choices=["slurm"], help="slurm writes a file for sbatch")
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE",
        help="of interleave train; trainer.num_nodes and trainer.devices say how many nodes and GPUs are asked for",
    )  # fmt: skip
    parser.add_argument(
        "--sbatch", action="append", default=[], metavar="NAME=VALUE",
        help="an option of sbatch, such as time=24:00:00, partition=a100 or account=vision; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--setup", action="append", default=[], metavar="COMMAND",
        help="a shell command before the training, such as 'module load cuda'; may be given several times",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="the file to write; by default train.sbatch in the run's folder")
    parser.add_argument("--submit", action="store_true", help="hand the file to sbatch")
    _write(parser.parse_intermixed_args(arguments))  # options may stand between overrides


def _write(options: argparse.Namespace) -> None:
    """Compose, so that a mistake shows now and not when the job's turn comes, then write and submit the file."""
    from ..compose import compose
    from .slurm import batch_file

    config = compose("train", options.overrides)
    text = batch_file(config, options.overrides, options.sbatch, options.setup, Path.cwd())
    run = Path(config["run"])
    out: Path = options.out or run / "train.sbatch"
    run.mkdir(parents=True, exist_ok=True)  # SLURM opens the output file before anything of ours runs
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    if not options.submit:
        print(f"{out} is written; sbatch {out} submits it")
        return
    if not shutil.which("sbatch"):
        raise InputError(f"{out} is written, but there is no sbatch on this machine; submit it where there is one")
    done = subprocess.run(["sbatch", str(out)], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"sbatch {out} failed: {' '.join(done.stderr.split())}")
    print(done.stdout.strip())
