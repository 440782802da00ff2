"""Two processes over gloo learn what one learns, also where one of them never sees a picture."""

from pathlib import Path

import pytest
import torch
from forked_ranks import equal, run_job
from parallel_job import BROKEN, STEPS, train

Trained = tuple[list[float], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def alone() -> Trained:
    return train("one", 1)


def in_two(strategy: str, out: Path, *more: str) -> Trained:
    trained: Trained = run_job("parallel_job.py", 2, out, *more, options=(strategy,))
    return trained


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
