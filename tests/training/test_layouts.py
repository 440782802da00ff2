"""A training that goes on in other processes and another layout learns what one process learns."""

from pathlib import Path

import pytest
from forked_ranks import run_job
from layout_job import BEGUN, CHAINS, ENDS, STEPS, go_on

Losses = dict[str, list[float]]


@pytest.fixture(scope="module")
def gone_through(tmp_path_factory: pytest.TempPathFactory) -> Losses:
    """Losses of all steps of each chain: by one process, then by four, two, and one again."""
    folder = tmp_path_factory.mktemp("chains")
    losses = {name: go_on(chain.case, None, 1, folder / name, 0, BEGUN) for name, chain in CHAINS.items()}
    for ranks in (4, 2):
        by_several: Losses = run_job("layout_job.py", ranks, folder / f"by-{ranks}.pt", str(folder))
        for name in CHAINS:
            losses[name] += by_several[name]
    for name, chain in CHAINS.items():
        losses[name] += go_on(chain.case, None, 1, folder / name, ENDS[2], STEPS)
    return losses


@pytest.mark.parametrize("name", CHAINS)
def test_layouts_change_nothing(name: str, gone_through: Losses, tmp_path: Path) -> None:
    undisturbed = go_on(CHAINS[name].case, None, 1, tmp_path, 0, STEPS)
    assert len(undisturbed) == STEPS
    assert gone_through[name] == pytest.approx(undisturbed, abs=1e-5)
    assert undisturbed[0] != pytest.approx(undisturbed[-1], abs=1e-2), "something is learned"
