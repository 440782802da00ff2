"""A training that goes on in other processes and another layout learns what one process learns."""

import shutil
from pathlib import Path

import pytest
from forked_ranks import run_job
from layout_job import BEGUN, CHAINS, ENDS, STEPS, go_on

Losses = dict[str, list[float]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Losses]:
    """A folder with the checkpoints of all steps of each training by one process, and its losses."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, {name: go_on(chain.case, None, 1, folder / name, 0, STEPS) for name, chain in CHAINS.items()}


@pytest.fixture(scope="module")
def gone_through(undisturbed: tuple[Path, Losses], tmp_path_factory: pytest.TempPathFactory) -> Losses:
    """Losses of all steps of each chain: by one process, then by four, two, and one again."""
    folder = tmp_path_factory.mktemp("chains")
    begun, whole = undisturbed
    for name in CHAINS:
        shutil.copytree(begun / name / f"checkpoints/step-{BEGUN}", folder / name / f"checkpoints/step-{BEGUN}")
    losses = {name: whole[name][:BEGUN] for name in CHAINS}
    for ranks in (4, 2):
        by_several: Losses = run_job("layout_job.py", ranks, folder / f"by-{ranks}.pt", str(folder))
        for name in CHAINS:
            losses[name] += by_several[name]
    for name, chain in CHAINS.items():
        losses[name] += go_on(chain.case, None, 1, folder / name, ENDS[2], STEPS)
    return losses


@pytest.mark.parametrize("name", CHAINS)
def test_layouts_change_nothing(name: str, undisturbed: tuple[Path, Losses], gone_through: Losses) -> None:
    expected = undisturbed[1][name]
    assert len(expected) == STEPS
    assert gone_through[name] == pytest.approx(expected, abs=1e-5)
    assert expected[0] != pytest.approx(expected[-1], abs=1e-2), "something is learned"
