"""Compiled blocks compute what they did before, for batches of any mixture, without compiling again for each.

Graphs are traced here and run by torch's own operators; the compiler itself takes a minute (tests/slow)."""

import pytest
import torch
from compiled_steps import graphs_of, learn, mixed_batches, two_models
from small_models import small_config

from interleave.model.assembly import assemble
from interleave.training.compilation import compiled_graphs

BACKEND = "aot_eager"


def test_compiled_blocks_learn_what_plain_ones_do_and_are_compiled_once() -> None:
    assembly, plain = two_models("selective", BACKEND)
    batches = mixed_batches(assembly, 20)
    assert {len(batch.visuals) for batch in batches} >= {0, 1, 2}
    losses, recompiled = graphs_of(assembly.model, batches)
    assert recompiled < 5
    assert losses == pytest.approx(learn(plain, batches), abs=1e-4)
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(assembly.model.state_dict()[name], weight, rtol=1e-4, atol=1e-4, msg=name)


def test_evaluation_runs_blocks_as_they_are_written() -> None:
    assembly, _ = two_models(None, BACKEND)
    before = compiled_graphs()
    assembly.model.eval()
    with torch.no_grad():
        for batch in mixed_batches(assembly, 2):
            assembly.model.loss(batch)
    assert compiled_graphs() == before


def test_names_of_weights_stay() -> None:
    assembly, _ = two_models("selective", BACKEND)
    fresh = assemble(small_config()).model
    assert assembly.model.state_dict().keys() == fresh.state_dict().keys()
