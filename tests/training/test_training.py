"""Optimisation: exact accumulation, parts and rates, resuming, checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from small_models import rendered, small_config, some_samples, talk
from small_training import STAGE, Endless, loader, trainer

import interleave as il
from interleave.checkpoints import open_checkpoint, save_config, save_weights
from interleave.core.errors import InputError
from interleave.core.types import Batch
from interleave.data.budget import Budget
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource
from interleave.inference.lm import LM
from interleave.model.assembly import Assembly, assemble
from interleave.processing.collate import collate
from interleave.training.checkpointing import Checkpoints
from interleave.training.lightning_module import LitInterleaved
from interleave.training.optimizer import PARTS, Stage, freeze, optimizer, schedule
from interleave.training.parallelize import TOWERS, CheckpointMode, blocks, checkpoint_activations


class _Gradients(Callback):
    """What the optimiser was given in the first step."""

    def on_before_zero_grad(self, trainer: Trainer, module: LightningModule, _: Any) -> None:
        found = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
        if trainer.global_step == 1:
            self.found = found


def gradients_of(batches: Sequence[Batch], accumulate: int, clip: float | None) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    module, seen = LitInterleaved(assemble(small_config()).model, STAGE), _Gradients()
    options = {"accumulate_grad_batches": accumulate, "gradient_clip_val": clip}
    trainer(2, callbacks=[seen], **options).fit(module, loader(*batches))
    return seen.found


@pytest.mark.parametrize("accumulate", [2, 3, 6])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_any_accumulation_gives_the_same_gradients(assembly: Assembly, accumulate: int, clip: float | None) -> None:
    """Micro-batches of very different numbers of supervised tokens equal one batch with all of them."""
    answers = ["a", "a long answer with many tokens", "b", "a somewhat longer one", "c", "ten times longer" * 10]
    examples = rendered(assembly, [talk("q", answer=a) for a in answers]) * 2
    micro = [collate([[e]], 256, assembly.vision) for e in examples]
    groups = [examples[i : i + accumulate] for i in range(0, len(examples), accumulate)]
    whole = [collate([[e] for e in group], 256, assembly.vision) for group in groups]
    found, expected = gradients_of(micro, accumulate, clip), gradients_of(whole, 1, clip)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_the_logged_loss_is_the_mean_over_tokens(assembly: Assembly) -> None:
    batch = collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision)
    loss, count = assembly.model.loss(batch)
    expected = (loss / count).item()
    run = trainer(1)
    run.fit(LitInterleaved(assembly.model, STAGE), loader(batch))
    assert run.callback_metrics["train/loss"].item() == pytest.approx(expected, rel=1e-5)


def test_frozen_parts_keep_their_weights(assembly: Assembly) -> None:
    stage = Stage({"vision_encoder": None, "projector": 1e-2, "llm": 1e-3, "modality": None})
    batch = collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision)
    before = {k: v.clone() for k, v in assembly.model.state_dict().items()}
    trainer(2).fit(LitInterleaved(assembly.model, stage), loader(batch, batch))
    for name, tensor in assembly.model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("vision_encoder."), name


def test_groups_decay_matrices_alone_at_the_rate_of_their_part(assembly: Assembly) -> None:
    stage = Stage({"vision_encoder": None, "projector": 1e-2, "llm": 1e-3, "newline": 1e-4}, weight_decay=0.1)
    freeze(assembly.model, stage)
    groups = optimizer(assembly.model, stage).param_groups
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in groups] == [
        ("projector/matrices", 1e-2, 0.1), ("projector/vectors", 1e-2, 0.0),
        ("llm/matrices", 1e-3, 0.1), ("llm/vectors", 1e-3, 0.0), ("newline/vectors", 1e-4, 0.0),
    ]  # fmt: skip
    assert all((p.ndim > 1) == (g["weight_decay"] > 0) for g in groups for p in g["params"])


def test_the_schedule_warms_up_and_falls_to_zero(assembly: Assembly) -> None:
    adamw = optimizer(assembly.model, Stage(dict.fromkeys(PARTS, 1.0), warmup=0.1))
    rates = schedule(adamw, Stage(dict.fromkeys(PARTS, 1.0), warmup=0.1), 100)
    seen = []
    for _ in range(100):
        seen.append(rates.get_last_lr()[0])
        adamw.step()
        rates.step()
    assert seen[0] == 0
    assert max(seen) == pytest.approx(seen[10]) == pytest.approx(1.0)
    assert seen[10:] == sorted(seen[10:], reverse=True)
    assert rates.get_last_lr()[0] == pytest.approx(0, abs=1e-6)


def test_stages_name_what_is_wrong() -> None:
    with pytest.raises(InputError, match="no part 'vision'; did you mean 'vision_encoder'"):
        Stage({"vision": 1.0})
    with pytest.raises(InputError, match="freezes all 5 parts"):
        Stage({"llm": None})


@pytest.mark.parametrize("kept", ["full", "selective"])
def test_activation_checkpointing_changes_nothing_but_memory(assembly: Assembly, kept: CheckpointMode) -> None:
    batch = collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision)
    plain, _ = assembly.model.loss(batch)
    plain.backward()
    expected = [p.grad.clone() for p in assembly.model.parameters() if p.grad is not None]
    assembly.model.zero_grad()
    checkpoint_activations(assembly.model, dict.fromkeys(TOWERS, kept))
    assert all("CheckpointWrapper" in type(b).__name__ for b in assembly.model.llm.model.model.layers)
    again, _ = assembly.model.loss(batch)
    again.backward()
    torch.testing.assert_close(again, plain)
    for found, wanted in zip(assembly.model.parameters(), expected, strict=True):
        torch.testing.assert_close(found.grad, wanted)
    assert blocks(assembly.model)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision_gives_nearly_the_same_loss(assembly: Assembly, precision: Any) -> None:
    batch = collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision)
    loss, count = assembly.model.loss(batch)
    expected = (loss / count).item()
    run = trainer(1, precision=precision)
    run.fit(LitInterleaved(assembly.model, STAGE), loader(batch))
    assert run.callback_metrics["train/loss"].item() == pytest.approx(expected, rel=0.05)


class _StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.step


def run(folder: Path, steps: int, until: int, resume: Path | None = None, prefetch: int = 0) -> dict[str, torch.Tensor]:
    """A run of ``steps`` that is cut off at ``until``, with a checkpoint there."""
    torch.manual_seed(0)
    assembly = assemble(small_config())
    source = ExampleSource({"endless": Endless()}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    data = InterleavedData(source, Budget(128, 2, 8), seed=1, prefetch=prefetch)
    module = LitInterleaved(assembly.model, STAGE)
    callbacks = [_StopAt(until), Checkpoints(str(folder / "checkpoints"))]
    fit = trainer(steps, enable_checkpointing=True, callbacks=callbacks, default_root_dir=folder)
    fit.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    return {k: v.detach().clone() for k, v in assembly.model.state_dict().items()}


@pytest.mark.parametrize(("first", "then"), [(0, 0), (3, 3), (3, 0)])
def test_a_resumed_run_ends_with_the_weights_of_one_that_never_stopped(first: int, then: int, tmp_path: Path) -> None:
    """Also where a thread had made three batches more than were trained on."""
    for name in ("whole", "cut", "resumed"):
        (tmp_path / name).mkdir()
    whole = run(tmp_path / "whole", 9, 9)
    cut = run(tmp_path / "cut", 9, 4, prefetch=first)
    resumed = run(tmp_path / "resumed", 9, 9, tmp_path / "cut/checkpoints/last/meta.pt", prefetch=then)
    assert any(not torch.equal(cut[k], whole[k]) for k in whole)
    for name, tensor in resumed.items():
        assert torch.equal(tensor, whole[name]), name


def test_saved_weights_load_into_the_same_model(assembly: Assembly, tmp_path: Path) -> None:
    save_config(tmp_path, small_config())
    save_weights(tmp_path, assembly.model, assembly.model.state_dict())
    lm: LM = il.load(tmp_path)
    for name, tensor in lm.model.state_dict().items():
        assert torch.equal(tensor, assembly.model.state_dict()[name]), name
    assert open_checkpoint(tmp_path).parts == small_config()
    changed = il.load(tmp_path, ["modality.video.num_frames=2"])
    assert changed.adapters["video"].num_frames == 2  # type: ignore[comparison-overlap]
    with pytest.raises(InputError, match="no option 'frame'; did you mean 'num_frames'"):
        il.load(tmp_path, ["modality.video.frame=2"])
    with pytest.raises(InputError, match="no part 'modalty'"):
        il.load(tmp_path, ["modalty.video.frame=2"])


def test_weights_that_do_not_fit_name_file_and_tensor(assembly: Assembly, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither config\.yaml nor config\.json"):
        il.load(tmp_path)
    save_config(tmp_path, small_config())
    with pytest.raises(InputError, match=r"holds no weights: none of model\.safetensors.*resume it with resume="):
        il.load(tmp_path)
    state = assembly.model.state_dict()
    name = "projector.0.weight"
    for change, message in (
        ({name: torch.zeros(3, 2)}, rf"{name} of shape \(3, 2\) where the config asks for \(32, 16\)"),
        ({"extra": torch.zeros(1)}, "holds extra, which the model"),
    ):
        save_weights(tmp_path, assembly.model, {**state, **change})
        with pytest.raises(InputError, match=message):
            il.load(tmp_path)
    save_weights(tmp_path, assembly.model, {k: v for k, v in state.items() if k != name})
    with pytest.raises(InputError, match=f"lacks {name} and 0 more"):
        il.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(InputError, match="cannot be read"):
        il.load(tmp_path)
