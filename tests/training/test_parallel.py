"""Two processes over gloo learn what one learns, also where one of them never sees a picture."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from parallel_job import BROKEN, STEPS, train
from small_models import ROOT

Trained = tuple[list[float], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def alone() -> Trained:
    return train("one", 1)


def in_two(strategy: str, out: Path, *more: str) -> Trained:
    command = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(ROOT / "tests/support/parallel_job.py"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests/support")}
    done = subprocess.run(
        [sys.executable, *command, strategy, str(out), *more],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    trained: Trained = torch.load(out)
    return trained


def equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    names = {n.replace("_checkpoint_wrapped_module.", ""): n for n in expected}
    for name, tensor in found.items():
        torch.testing.assert_close(
            tensor, expected[names[name]], rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_two_processes_equal_one(strategy: str, alone: Trained, tmp_path: Path) -> None:
    """Rank 1 has text only: without the blank view of its batches the collectives would wait for ever, nor would they
    meet if the weights of the pose encoding, which only posed scenes of rank 0 use, were not in its graph, too."""
    losses, weights = in_two(strategy, tmp_path / "out.pt")
    expected, expected_weights = alone
    assert len(losses) == len(expected) == STEPS
    assert losses == pytest.approx(expected, abs=1e-4)
    assert expected[0] > expected[-1], "something is learned"
    assert expected_weights["modality.scene3d.encoding.leave.weight"].any(), "also by weights that few batches use"
    equal(weights, expected_weights)


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_a_gradient_that_overflows_on_one_rank_is_skipped_by_all(strategy: str, tmp_path: Path) -> None:
    expected_losses, expected = train("one", 1, broken=True)
    losses, weights = in_two(strategy, tmp_path / "out.pt", "broken")
    assert len(losses) == STEPS
    assert losses == pytest.approx(expected_losses, abs=1e-4)
    assert losses[BROKEN] < losses[0]
    assert all(tensor.isfinite().all() for tensor in weights.values())
    equal(weights, expected)
