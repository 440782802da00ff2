"""What a step without memory says of a step with memory."""

from collections.abc import Sequence

import pytest
import torch
from small_models import small_config
from torch.profiler import ProfilerActivity, profile

from interleave.costs.memory import WeightPlacement, memory_by_term
from interleave.costs.rehearsal import Moment, Precision, Rehearsal, StepMemory, StepShape, blank_batch
from interleave.costs.tally import Tally
from interleave.model.assembly import Assembly, assemble
from interleave.training.optimizer import Stage, freeze
from interleave.training.parallelize import TOWERS, checkpoint_activations

SHAPE = StepShape(rows=2, length=256, views=24, supervised=0.4)
RATES = {"vision_encoder": 1.0, "projector": 1.0, "llm": 1.0}
CASES: dict[str, tuple[Stage, Sequence[str], Precision]] = {
    "all trained": (Stage(RATES), (), Precision()),
    "frozen vision": (Stage({**RATES, "vision_encoder": None}), (), Precision()),
    "checkpointed": (Stage(RATES), TOWERS, Precision()),
    "half precision": (Stage(RATES), ("llm",), Precision(autocast=torch.bfloat16)),
}


def built(stage: Stage, towers: Sequence[str]) -> Assembly:
    llm = {"name": "tiny", "dim": 64, "layers": 4, "heads": 4}
    assembly = assemble(small_config(llm=llm))
    freeze(assembly.model, stage)
    if towers:
        checkpoint_activations(assembly.model, dict.fromkeys(towers, "full"))
    return assembly


def allocated(assembly: Assembly, precision: Precision) -> int:
    """The most that PyTorch's allocator has handed out in a step, in bytes."""
    batch = blank_batch(SHAPE, assembly.vision)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        with torch.autocast("cpu", precision.autocast, enabled=precision.autocast is not None):
            loss, _ = assembly.model.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
    now = peak = 0
    for event in profiled.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


def total(moment: Moment) -> float:
    return moment.vision + moment.llm + moment.working + moment.gradients


@pytest.mark.parametrize("name", CASES)
def test_the_rehearsed_peak_is_what_the_allocator_hands_out(name: str) -> None:
    stage, towers, precision = CASES[name]
    found = allocated(built(stage, towers), precision)
    assembly = built(stage, towers)
    step = Rehearsal(assembly.model, assembly.vision, precision).step(SHAPE)
    assert max(total(step.forward), total(step.backward)) == pytest.approx(found, rel=0.1)


def test_a_rehearsal_keeps_ties_and_takes_no_memory() -> None:
    assembly = built(*CASES["all trained"][:2])
    before = sum(p.numel() for p in assembly.model.parameters())
    rehearsal = Rehearsal(assembly.model, assembly.vision, Precision())
    assert sum(p.numel() for p in assembly.model.parameters()) == before
    with Tally() as tally:
        rehearsal.step(StepShape(1, 128, 1, 0.5))
    assert tally.live < 10 * 2**20


def test_a_tally_knows_what_lives_and_what_moved() -> None:
    known = torch.zeros(256)  # 1 KiB
    with Tally([known]) as tally:
        doubled = known * 2  # reads and writes 1 KiB each
        assert (tally.live, tally.moved) == (1024, 2048)
        view = doubled[:10]
        product = doubled.view(16, 16) @ doubled.view(16, 16)  # lives, and counts as FLOPs, not as traffic
        assert (tally.live, tally.moved) == (2048, 2048)
        del doubled, view
        assert tally.live == 1024
        tally.extra = 5.0
        tally.restart()
    assert (tally.peak, tally.extra_at_peak, len(product)) == (1029, 5.0, 16)


def test_sharding_divides_what_belongs_to_weights_and_nothing_else() -> None:
    model = built(*CASES["frozen vision"][:2]).model
    step = StepMemory(Moment(100, 200, 100, 0), Moment(100, 200, 100, 600), moved=0)
    whole = memory_by_term(model, WeightPlacement(), step, 10, keeps_gradients=False)
    halves = memory_by_term(model, WeightPlacement(2, 2, gathered_bytes=2), step, 10, keeps_gradients=False)
    for term in ("weights", "optimizer", "gradients"):
        assert whole[term] == 2 * halves[term]
    assert whole["optimizer"] == 2 * whole["gradients"]
    assert whole["gathered"] == 0 < halves["gathered"]
    # at the end of the forward pass, as that is the larger one here: all gradients of the step before are there
    assert whole["head and working"] == halves["head and working"] == 100


def test_accumulated_gradients_are_there_throughout_the_backward_pass() -> None:
    model = built(*CASES["all trained"][:2]).model
    step = StepMemory(Moment(100, 200, 100, 0), Moment(100, 200, 10**6 - 900, 600), moved=0)
    terms = memory_by_term(model, WeightPlacement(), step, 0, keeps_gradients=True)
    assert terms["gradients"] == 4 * sum(p.numel() for p in model.parameters())
    assert terms["head and working"] == 10**6 - 600 - 300


def test_a_rehearsal_moves_as_many_bytes_as_a_step_with_memory() -> None:
    """Fake tensors ask operations of their own, such as for a device, which move nothing."""
    assembly = built(*CASES["all trained"][:2])
    batch = blank_batch(SHAPE, assembly.vision)
    with Tally([*assembly.model.parameters(), *assembly.model.buffers()]) as tally:
        loss, _ = assembly.model.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
    rehearsed = Rehearsal(assembly.model, assembly.vision, Precision()).step(SHAPE)
    assert rehearsed.moved == pytest.approx(tally.moved, rel=0.1)
