"""Compiled blocks compute what they did before, for batches of any mixture, without compiling again for each.

Graphs are traced here and run by torch's own operators; the compiler itself takes a minute (tests/slow)."""

import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from command_line import TINY, mini
from compiled_steps import graphs_of, learn, mixed_batches, two_models
from small_models import small_config

from interleave.cli import main
from interleave.model.assembly import assemble
from interleave.training import lightning_module
from interleave.training.compilation import compile_blocks, compiled_graphs
from interleave.training.parallelize import CheckpointMode

BACKEND = "aot_eager"


@pytest.mark.parametrize("kept", [None, "full", "selective"])
def test_compiled_blocks_learn_what_plain_ones_do_and_are_compiled_once(kept: CheckpointMode | None) -> None:
    assembly, plain = two_models(kept, BACKEND)
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


def test_the_command_line_compiles_and_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightning_module, "compile_blocks", partial(compile_blocks, backend=BACKEND))
    torch._dynamo.reset()
    small = [*TINY, *mini(tmp_path / "mini"), "trainer.max_steps=4", "checkpoint_activations=selective"]
    before = compiled_graphs()
    assert main(["train", *small, f"run={tmp_path}/plain"]) == 0
    assert compiled_graphs() == before
    assert main(["train", *small, "compile=true", f"run={tmp_path}/compiled"]) == 0
    assert compiled_graphs() > before
    plain, compiled = (logged(tmp_path / name) for name in ("plain", "compiled"))
    assert [float(row["train/loss"]) for row in compiled] == pytest.approx(
        [float(row["train/loss"]) for row in plain], abs=1e-4
    )
    assert len(compiled) == 4
    assert float(compiled[-1]["train/recompilations"]) < 5


def logged(run: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics that hold losses."""
    with (run / "metrics/version_0/metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["train/loss"]]
