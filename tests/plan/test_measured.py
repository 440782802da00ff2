"""The memory that a plan says, against that of a run's own steps, term by term."""

from pathlib import Path

import pytest
from measured_step import measure

from interleave.compose import compose
from interleave.costs.memory import MEMORY_TERMS
from interleave.plan.plan import make_plan

SIZES = ["llm.dim=128", "llm.layers=4", "llm.heads=4", "data.sequence_length=512", "data.max_views=2"]
ASSUMED = ["plan.tokens=256", "plan.views=1", "dataset=[]", "device=h100"]
VISION = {"name": "tiny", "size": 56, "patch": 14, "dim": 128, "layers": 2, "heads": 4}
CASES = {
    "all kept": [],
    "computed again": ["checkpoint_activations=true"],
    "selective, frozen vision": ["checkpoint_activations=selective", "stage=small_frozen"],
    "half precision": ["trainer.precision=bf16-true"],
    "products in half precision, computed again": ["trainer.precision=bf16-mixed", "checkpoint_activations=true"],
}


@pytest.mark.parametrize("name", CASES)
def test_every_term_is_that_of_a_real_step(name: str, tmp_path: Path) -> None:
    """Each within a tenth of itself, or a hundredth of all."""
    steps = ["trainer.max_steps=7", f"run={tmp_path}"]
    config = compose("plan", [*SIZES, *ASSUMED, *steps, *CASES[name]])
    config = {**config, "callbacks": {}, "logger": None, "vision_encoder": VISION}
    planned, measured = make_plan(config).memory, measure(config).memory
    every = sum(measured.values())
    for term in MEMORY_TERMS:
        assert planned[term] == pytest.approx(measured[term], rel=0.1, abs=0.01 * every), term
    assert sum(planned.values()) == pytest.approx(every, rel=0.1)
