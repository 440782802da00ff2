"""Two processes over gloo learn what one learns, also where one of them never sees a picture."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from parallel_job import STEPS, train


@pytest.fixture(scope="module")
def alone() -> tuple[list[float], dict[str, torch.Tensor]]:
    return train("one", 1)


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_two_processes_equal_one(
    strategy: str, alone: tuple[list[float], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    """Rank 1 has text only: without the blank view of its batches the collectives would wait for ever, nor would they
    meet if the weights of the pose encoding, which only posed scenes of rank 0 use, were not in its graph, too."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(ROOT / "tests/parallel_job.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(
        [sys.executable, *command, strategy, str(tmp_path / "out.pt")],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    losses, weights = torch.load(tmp_path / "out.pt")
    expected, expected_weights = alone
    assert len(losses) == len(expected) == STEPS
    assert losses == pytest.approx(expected, abs=1e-4)
    assert expected[0] > expected[-1], "something is learned"
    assert expected_weights["modality.scene3d.encoding.leave.weight"].any(), "also by weights that few batches use"
    names = {n.replace("_checkpoint_wrapped_module.", ""): n for n in expected_weights}
    for name, tensor in weights.items():
        torch.testing.assert_close(
            tensor, expected_weights[names[name]], rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
