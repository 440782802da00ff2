"""Validation over two ranks: each sample once, the same loss as by one process, as many steps on either rank."""

from collections.abc import Mapping
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
    assert_both_ranks_end(found)
    assert found["whole, ddp"][0][0] < alone["whole"][0][0], "each rank reads a part"


def assert_both_ranks_end(found: Mapping[str, list[str]]) -> None:
    """An error of the program stays what it is where it happened; a user's mistake is the same line on both."""
    other, own = found["KeyError"]
    assert own == "KeyError in __getitem__: 'no such field'"
    assert other == (
        "InputError in _end: rank 1 cannot read its data, so that no rank can go on: KeyError: 'no such field'"
    )
    assert [line.split(": ", 1)[1] for line in found["InputError"]] == ["no such file", "no such file"]
