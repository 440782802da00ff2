"""One of two ranks cannot read its training data: both end, and both say why."""

import pytest
from forked_ranks import run_job


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Case -> what both ranks raised. Ranks that wait for each other are killed after minutes."""
    said: dict[str, list[str]] = run_job("broken_rank_job.py", 2, tmp_path_factory.mktemp("job") / "out.pt")
    return said


@pytest.mark.parametrize("case", ["program", "at once"])
def test_an_error_of_the_program_keeps_its_place_and_is_a_line_on_the_other_rank(
    case: str, found: dict[str, list[str]]
) -> None:
    other, own = found[case]
    step = own.split(",")[0]
    said = "KeyError: 'no such\\nfield'"
    assert own == f"{step}, KeyError in example: 'no such\\nfield'"
    assert other == f"{step}, InputError in _end: rank 1 cannot read its data, so that no rank can go on: {said}"
    assert step != "step 0", own


def test_a_mistake_of_the_user_is_the_same_line_on_both(found: dict[str, list[str]]) -> None:
    other, own = found["user"]
    assert own.split(": ", 1)[1] == "no such file"
    assert other.split(": ", 1)[1] == "rank 1: no such file"


def test_a_killed_worker_ends_both(found: dict[str, list[str]]) -> None:
    other, own = found["killed"]
    line = own.split(": ", 1)[1]
    assert line.startswith("DataLoader worker (pid")
    assert other.split(": ", 1)[1] == f"rank 1: {line}"
