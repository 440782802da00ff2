"""The compiler itself, 20 steps equal to plain ones, in minutes; and how often a thousand mixed batches ask for it."""

import pytest
import torch
from compiled_steps import learn, mixed_batches, two_models

from interleave.training.compilation import compiled_graphs
from interleave.training.parallelize import CheckpointMode


@pytest.mark.parametrize("kept", [None, "full", "selective"])
def test_compiled_equals_plain(kept: CheckpointMode | None) -> None:
    assembly, plain = two_models(kept, "inductor")
    batches = mixed_batches(assembly, 20)
    assert learn(assembly.model, batches) == pytest.approx(learn(plain, batches), abs=1e-4)
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(assembly.model.state_dict()[name], weight, rtol=1e-4, atol=1e-4, msg=name)


def test_a_thousand_mixed_batches_compile_fewer_than_five_graphs_more() -> None:
    """Graphs are only traced, and run forwards: which ones are asked for depends on neither."""
    assembly, _ = two_models(None, "aot_eager")
    first, *others = mixed_batches(assembly, 1000)
    assembly.model.loss(first)
    before = compiled_graphs()
    for batch in others:
        assembly.model.loss(batch)
    recompiled = compiled_graphs() - before
    print(f"{recompiled} graphs after the first batch")
    assert recompiled < 5
