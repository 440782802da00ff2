"""However a model is sharded over processes, it learns what one process learns, with as few collectives as it needs."""

import re
from collections.abc import Callable
from functools import cache

import pytest
import torch
from forked_ranks import equal, run_job
from sharding_job import CASES, FOUR_RANKS, Case, Learned, train

from interleave.core.errors import InputError
from interleave.training.build import build_strategy
from interleave.training.parallelize_units import Sharding

FSDP2 = "interleave.training.parallelize.FSDP2Strategy"


Results = Callable[[str], Learned]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What a case learned, by its name: one job of two processes for all of ``CASES``, one of four for the others."""

    @cache
    def of_job(ranks: int) -> dict[str, Learned]:
        results: dict[str, Learned] = run_job("sharding_job.py", ranks, tmp_path_factory.mktemp("job") / "out.pt")
        return results

    return lambda name: of_job(2 if name in CASES else 4)[name]


@cache
def alone(case: Case) -> Learned:
    """What one process learns, which sees all ranks' micro-batches of a step."""
    return train(case, 1)


@pytest.mark.parametrize("name", [*CASES, *FOUR_RANKS])
def test_shards_learn_what_one_process_learns(name: str, learned: Results) -> None:
    case = (CASES | FOUR_RANKS)[name]
    expected, found = alone(case.unsharded()), learned(name)
    assert (found["graphs"] > 0) == case.compiled
    assert len(found["losses"]) == len(expected["losses"]) >= 4
    # small moments: chance rounds a shard by other numbers than the whole, and a code may be the next one
    weights, hidden, loss, norm = (1e-3, 5e-3, 1e-4, 1e-2) if case.states else (1e-4, 1e-4, 1e-9, 1e-4)
    assert found["losses"] == pytest.approx(expected["losses"], rel=loss, abs=1e-4)
    assert expected["losses"][0] > expected["losses"][-1], "something is learned"
    assert len(found["norms"]) == len(expected["norms"]) == len(expected["losses"])
    for found_norms, expected_norms in zip(found["norms"], expected["norms"], strict=True):
        assert found_norms == pytest.approx(expected_norms, rel=norm)
    torch.testing.assert_close(found["hidden"], expected["hidden"], rtol=1e-3, atol=hidden)
    equal(found["weights"], expected["weights"], weights)


@pytest.mark.parametrize(
    ("name", "gathers", "reduces"),
    [
        # a step's micro-batches gather 3 blocks twice, the embedding once, ... but reduce each unit once
        ("two tensors, accumulated", 34, 10),
        ("chunks, of which ranks have different numbers", 17, 10),
        ("accumulated by DDP", 0, 1),
        ("replicas, each micro-batch", 0, 16),
        ("frozen towers", 13, 2),
        ("frozen towers replicated", 4, 2),
    ],
)
def test_a_step_sends_no_more_than_it_must(name: str, gathers: int, reduces: int, learned: Results) -> None:
    found = learned(name)
    steps = len(found["losses"])
    # what is gathered once, when parts try their weights, is less than one a step
    assert (found["gathers"] // steps, found["reduces"] / steps) == (gathers, reduces)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frozen": "maybe"}, "trainer.strategy.frozen is 'maybe': input should be 'shard' or 'replicate'"),
        ({"prefetch": 0}, "prefetch must be at least 1"),
        ({"reshard": False}, "trainer.strategy has no option 'reshard'"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        build_strategy({"_target_": FSDP2, **options})


def test_options_of_the_config_reach_the_strategy() -> None:
    strategy = build_strategy({"_target_": FSDP2, "replicate": 2})
    assert strategy.sharding == Sharding(replicate=2)
    assert type(strategy.sharding) is Sharding, "it is no config that Hydra made of it"


@pytest.mark.parametrize(
    ("sharding", "devices", "message"),
    [
        (Sharding(replicate=3), 8, "trainer.strategy.replicate is 3, which does not divide the 8 devices"),
        (Sharding(reshard_after_forward=3), 8, "a divisor of the 8 devices that share the weights"),
        (Sharding(reshard_after_forward=8), 8, "between 1 and 8"),
        (Sharding(reshard_after_forward=4, replicate=4), 8, "a divisor of the 2 devices"),
    ],
)
def test_numbers_that_do_not_fit_the_devices_are_refused(sharding: Sharding, devices: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sharding.mesh("cpu", devices)
