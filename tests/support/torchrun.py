"""Starts a job of several processes, and compares what they learned."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from small_models import ROOT


def run_job(job: str, ranks: int, out: Path, *more: str, options: tuple[str, ...] = ()) -> Any:
    """What ``tests/support/JOB``, run by so many processes, wrote to ``out``. more: its arguments after ``out``;
    options: those before it."""
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command += [str(ROOT / "tests/support" / job), *options, str(out), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-5000:]
    return torch.load(out)


def equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Every tensor is its namesake to 1e-4, whichever of both models computes its activations again."""
    names = {n.replace("_checkpoint_wrapped_module.", ""): n for n in expected}
    for name, tensor in found.items():
        torch.testing.assert_close(
            tensor, expected[names[name]], rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
