"""The way of batches to a GPU: copied beside the steps, and no step waits for the device. Skipped without one."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from small_models import rendered, small_config, some_samples
from small_training import STAGE, Endless

from interleave.compose import compose
from interleave.core.types import Batch
from interleave.data.budget import Budget
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource
from interleave.data.gpu_copies import Copies, Copy
from interleave.model.assembly import Assembly, assemble
from interleave.processing.collate import collate
from interleave.training.build import build_trainer
from interleave.training.lightning_module import LitInterleaved

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]

CYCLES = 1_000_000_000
"""Of the device, in which it does nothing: about half a second."""


class RefuseWaits(Callback):
    """Lets everything raise that waits for the device, from the beginning of step ``first`` to that of ``end``; keeps
    the tokens of all batches."""

    def __init__(self, first: int, end: int) -> None:
        self.first, self.end, self.steps = first, end, 0
        self.tokens: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Batch, index: int) -> None:
        step = trainer.global_step + 1
        assert batch.input_ids.is_cuda
        self.tokens.append(batch.input_ids.clone())
        torch.cuda.set_sync_debug_mode("error" if self.first <= step < self.end else "default")
        self.steps += self.first <= step < self.end

    def on_exception(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")

    def on_train_end(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


def data_of(assembly: Assembly, prefetch: int) -> InterleavedData:
    source = ExampleSource({"endless": Endless()}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    return InterleavedData(source, Budget(128, 2, 8), seed=1, prefetch=prefetch)


def test_no_step_between_two_log_steps_waits(tmp_path: Path) -> None:
    """Two whole steps, with the fetching and the copying of the batches after them."""
    torch.manual_seed(0)
    assembly = assemble(small_config())
    words = ["trainer.max_steps=8", "trainer.log_every_n_steps=4", "trainer.precision=bf16-mixed"]
    trainer = build_trainer(compose("train", [f"run={tmp_path}", *words, "trainer.accelerator=gpu"]))
    refuse = RefuseWaits(5, 7)  # 4 and 8 are logged
    trainer.callbacks.insert(0, refuse)  # type: ignore[attr-defined]
    trainer.fit(LitInterleaved(assembly.model, STAGE), datamodule=data_of(assembly, 2))
    assert refuse.steps == 2
    for found, expected in zip(refuse.tokens, islice(data_of(assembly, 0).train, 8), strict=True):
        assert torch.equal(found.cpu(), expected.input_ids)


def test_waits_are_refused() -> None:
    """Else the test above would hold nothing."""
    number = torch.ones(1, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            number.item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def pinned() -> Batch:
    assembly = assemble(small_config())
    return collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision).pin_memory()


def test_a_copy_that_is_late_is_waited_for_by_the_device_alone() -> None:
    batch, device = pinned(), torch.device("cuda", torch.cuda.current_device())
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        torch.cuda._sleep(CYCLES)
    copy = Copy(batch, device, stream)
    moved = copy.arrived()
    assert not copy.done.query(), "the host has waited for it"
    for name in ("input_ids", "labels", "pixel_values", "visual_positions"):
        assert torch.equal(getattr(moved, name).clone().cpu(), getattr(batch, name)), name


def test_the_memory_of_a_batch_is_its_own_until_the_step_has_used_it() -> None:
    """The step is still to come on the device when its batch is gone on the host and the next one is copied."""
    batch, device = pinned(), torch.device("cuda", torch.cuda.current_device())
    batches = [replace(batch, pixel_values=torch.full_like(batch.pixel_values, n)).pin_memory() for n in range(6)]
    means: list[torch.Tensor] = []
    for copy in Copies(batches, device):
        moved = copy.arrived()
        torch.cuda._sleep(CYCLES // 20)
        means.append(moved.pixel_values.float().mean())
        del copy, moved
    assert torch.stack(means).tolist() == list(range(6))
