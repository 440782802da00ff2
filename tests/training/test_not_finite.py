"""A step that is not finite changes nothing, ten in a row end the run; weights that are not finite are not written."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import TINY, mini
from lightning import Callback, LightningModule, Trainer
from small_models import rendered, some_samples
from small_training import STAGE, loader, trainer

import interleave as il
from interleave.cli import main
from interleave.core.errors import InputError
from interleave.model.assembly import Assembly
from interleave.processing.collate import collate
from interleave.training.lightning_module import LitInterleaved
from interleave.training.small_states import SmallStates
from interleave.training.step_guard import MAX_SKIPPED_IN_A_ROW, StepGuard


class Overflow(Callback):
    """Gradients are infinite in the named steps; what weights and optimiser held before and after is kept."""

    def __init__(self, *steps: int) -> None:
        self.steps = steps
        self.states: dict[int, dict[str, torch.Tensor]] = {}

    def on_after_backward(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step + 1 in self.steps:
            next(p for p in module.parameters() if p.grad is not None).grad.view(-1)[0] = float("inf")  # type: ignore[union-attr]

    def on_train_batch_end(self, trainer: Trainer, module: Any, *_: Any) -> None:
        moments = trainer.optimizers[0].state
        state = {n: p.detach().clone() for n, p in module.model.named_parameters()}
        known = ((n, moments[p]) for n, p in module.model.named_parameters() if p in moments)
        self.states[trainer.global_step] = state | {f"{n} {k}": v.clone() for n, s in known for k, v in s.items()}


@pytest.mark.parametrize(("clip", "states"), [(None, None), (0.5, None), (0.5, "bfloat16"), (0.5, "8bit")])
def test_a_step_that_overflows_changes_nothing_and_the_next_one_learns(
    clip: float | None, states: SmallStates | None, assembly: Assembly, caplog: pytest.LogCaptureFixture
) -> None:
    batch = collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision)
    seen = Overflow(3)
    run = trainer(4, callbacks=[seen], gradient_clip_val=clip)
    with caplog.at_level(logging.WARNING, logger="interleave"):
        stage = replace(STAGE, optimizer_states=states)
        run.fit(LitInterleaved(assembly.model, stage), loader(*[batch] * 4))
    before, skipped, after = (seen.states[step] for step in (2, 3, 4))
    assert all(torch.equal(before[name], skipped[name]) for name in before)
    assert all(tensor.isfinite().all() for tensor in after.values())
    assert any(not torch.equal(skipped[name], after[name]) for name in skipped)
    assert run.callback_metrics["train/skipped_steps"] == 1
    assert "step 3 is skipped: it is not finite (loss" in caplog.text


def test_a_loss_that_is_no_number_is_skipped_too(assembly: Assembly) -> None:
    good = collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision)
    with torch.no_grad():
        assembly.model.llm.newline.fill_(float("nan"))  # only pictures in tiles meet it
    words = collate([rendered(assembly, some_samples(assembly)[-1:])], 900, assembly.vision)
    run = trainer(3)
    run.fit(LitInterleaved(assembly.model, STAGE), loader(words, good, words))
    assert run.callback_metrics["train/skipped_steps"] == 1
    assert all(p.isfinite().all() for n, p in assembly.model.named_parameters() if n != "llm.newline")


@pytest.mark.parametrize("clip", [None, 0.5])
def test_an_optimizer_that_takes_no_scale_learns_the_same_and_skips_the_same(clip: float | None) -> None:
    """Three steps of SGD, by hand and with what AdamW's kernel would be told; the second one is not finite."""
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    plain, guarded = (torch.optim.SGD([weight], lr=0.1) for weight in weights)
    guard = StepGuard()
    for step, gradient in enumerate(([3.0, 4.0, 0.0], [1.0, float("nan"), 1.0], [0.3, 0.4, 0.0]), 1):
        weights[1].grad = torch.tensor(gradient)
        guard.prepare(guarded, torch.tensor(1.0), torch.tensor(0.5), clip, step)
        guarded.step()
        if step != 2:
            weights[0].grad = torch.tensor(gradient) * 0.5
            if clip:
                torch.nn.utils.clip_grad_norm_([weights[0]], clip)
            plain.step()
        torch.testing.assert_close(weights[1], weights[0])
    assert guard.report(is_global_zero=False) == 1


@pytest.mark.parametrize("interval", [1, 5])
def test_ten_steps_in_a_row_end_the_run_at_the_next_log_step(assembly: Assembly, interval: int) -> None:
    batch = collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision)
    steps = [2, *range(4, 4 + MAX_SKIPPED_IN_A_ROW)]  # one by itself, then as many as are too many
    run = trainer(20, callbacks=[Overflow(*steps)], log_every_n_steps=interval)
    with pytest.raises(InputError, match=r"10 steps in a row are not finite, the last is step 13 \(loss .*norm inf\)"):
        run.fit(LitInterleaved(assembly.model, STAGE), loader(*[batch] * 20))
    assert run.global_step + 1 == {1: 13, 5: 15}[interval]


def test_a_run_whose_weights_overflow_keeps_the_checkpoint_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are made infinite once the checkpoint of step 3 is written: that one stays, and no other takes its place."""

    def spoil(self: LitInterleaved, *_: Any) -> None:
        if self.trainer.global_step == 3:
            with torch.no_grad():
                self.model.projector[0].bias.fill_(float("inf"))

    monkeypatch.setattr(LitInterleaved, "on_train_batch_end", spoil)
    often = ["callbacks.checkpoint.every_n_steps=1", "trainer.max_steps=5"]
    arguments = [*TINY, *mini(tmp_path / "mini"), f"run={tmp_path / 'run'}", *often]
    assert main(["train", *arguments]) == 2
    assert "tensors are not finite after step 4: they are not written" in capsys.readouterr().err
    kept = tmp_path / "run" / "checkpoints"
    assert {path.name for path in kept.iterdir()} == {"step-3", "last"}
    state = torch.load(kept / "last" / "meta.pt", weights_only=True)
    assert state["global_step"] == 3
    assert not (tmp_path / "run" / "model.safetensors").exists()
    with pytest.raises(il.InputError, match="holds no weights"):
        il.load(tmp_path / "run")


def test_a_run_that_never_was_finite_ends_with_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*TINY, *mini(tmp_path / "mini"), f"run={tmp_path / 'run'}", "trainer.max_steps=30", "llm.std=1e30"]
    assert main(["train", *arguments]) == 2
    assert "10 steps in a row are not finite, the last is step 10" in capsys.readouterr().err
    assert not (tmp_path / "run" / "model.safetensors").exists()
