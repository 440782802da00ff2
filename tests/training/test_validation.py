"""Validation over two ranks: each sample once, the same loss as by one process, as many steps on either rank."""

from pathlib import Path

import pytest
from forked_ranks import run_job
from validation_job import CASES, results


def test_ranks_share_validation_out_and_make_equally_many_steps(tmp_path: Path) -> None:
    """A sample that only one rank meets, and cannot read, leaves it with fewer batches: it must not end before the
    other, which would wait in the collectives of its next step for ever."""
    found, alone = run_job("validation_job.py", 2, tmp_path / "out.pt"), results(1)
    for name in CASES:
        _, loss = alone[name]
        for strategy in ("ddp", "fsdp"):
            steps, shared = found[f"{name}, {strategy}"]
            assert steps[0] == steps[1], f"{name}, {strategy}"
            assert shared == pytest.approx(loss, rel=1e-5), f"{name}, {strategy}"
    assert found["InputError"] == ["rank 1: no such file", "no such file"], "a mistake that one rank meets ends both"
    assert found["whole, ddp"][0][0] < alone["whole"][0][0], "each rank reads a part"
