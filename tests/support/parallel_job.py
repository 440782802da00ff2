"""Run by torchrun in test_parallel.py: 20 steps over given batches, then losses and weights to a file.

torchrun --nproc-per-node 2 parallel_job.py ddp|fsdp FILE [broken]
"""

import sys
from pathlib import Path

import torch
from full_weights import full_state
from interleave_plugins.scenes.synthetic.render import make_scene
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, Strategy
from small_models import rendered, small_config, some_samples, talk
from torch.utils.data import DataLoader

from interleave import Media
from interleave.core.collectives import global_rank
from interleave.core.types import Batch
from interleave.model.assembly import Assembly, Config, assemble
from interleave.processing.collate import collate
from interleave.training import parallelize
from interleave.training.lightning_module import LitInterleaved
from interleave.training.optimizer import PARTS, Stage
from interleave.training.parallelize import TOWERS

STEPS = 20
"""Optimizer steps; each takes two batches, by two ranks or by accumulation."""
BROKEN = 7
"""The step whose gradients ``broken`` makes not finite."""


class Losses(Callback):
    """Remembers the loss of every optimizer step in ``seen``, where every step is logged."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        if len(self.seen) < trainer.global_step and "train/loss" in trainer.callback_metrics:
            self.seen.append(trainer.callback_metrics["train/loss"].item())


def posed_config() -> Config:
    """The small config with pose encodings: an adapter that owns weights."""
    config = small_config()
    config["modality"]["scene3d"]["poses"] = "pointmap"
    return config


def batches(assembly: Assembly, ranks: int) -> list[list[Batch]]:
    """Batches of one row for each rank. One rank alone gets those of both ranks, in turn.

    The second of two ranks never has a picture, and every third batch of the first has a posed scene: ranks must meet
    in the gradients of weights that one of them does not use.
    """
    scenes = [talk("where?", Media("scene3d", make_scene(i, views=2, size=(24, 18)).views)) for i in range(2)]
    samples = some_samples(assembly)
    pictures = rendered(assembly, [*samples[:2], scenes[0], *samples[2:4], scenes[1]])
    words = rendered(assembly, [talk(f"question {i}", answer="answer " * (i + 1)) for i in range(5)])
    first, second = [], []
    for i in range(STEPS):
        first.append(collate([[pictures[i % 6]]], 350, assembly.vision))
        second.append(collate([[words[i % 5]]], 350, assembly.vision))
    if ranks == 2:
        return [first, second]
    both: list[Batch] = []
    for pair in zip(first, second, strict=True):
        both += pair
    return [both]


def overflow(trainer: Trainer, module: LitInterleaved, rank: int, ranks: int) -> None:
    """One micro-batch of step ``BROKEN``, on the last rank, has gradients that are not finite."""

    def spoil(_: object, __: object, features: torch.Tensor) -> None:
        if trainer.global_step == BROKEN - 1 and rank == ranks - 1:
            features.register_hook(lambda gradient: gradient * float("inf"))

    module.model.projector.register_forward_hook(spoil)


def train(strategy: str, ranks: int, broken: bool = False) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of all steps, and the weights then, whole on rank 0.

    strategy: ``one`` process, ``ddp`` or ``fsdp``. broken: one step has gradients that are not finite.
    """
    torch.manual_seed(0)
    assembly = assemble(posed_config())
    stage = Stage(dict.fromkeys(PARTS, 1e-3), weight_decay=0.1)
    module = LitInterleaved(
        assembly.model, stage, checkpoint_activations=dict.fromkeys(TOWERS, "full") if strategy == "fsdp" else None
    )
    if strategy == "fsdp":
        assembly.model.vision_chunks = 3  # the second rank has one view a batch
    losses = Losses()
    strategies: dict[str, str | Strategy] = {
        "one": "auto",
        "ddp": DDPStrategy(process_group_backend="gloo"),
        "fsdp": parallelize.FSDP2Strategy(),
    }
    trainer = Trainer(
        accelerator="cpu", devices=ranks, strategy=strategies[strategy], max_steps=STEPS, gradient_clip_val=0.5,
        accumulate_grad_batches=2 // ranks, logger=False, log_every_n_steps=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, callbacks=[losses],
    )  # fmt: skip
    rank = trainer.global_rank
    own = batches(assembly, ranks)[rank]
    if broken:
        overflow(trainer, module, rank, ranks)
    trainer.fit(module, DataLoader(own, batch_size=None, collate_fn=lambda b: b))  # type: ignore[arg-type]
    return losses.seen, full_state(module.model)


if __name__ == "__main__":
    seen, weights = train(sys.argv[1], 2, broken=sys.argv[3:] == ["broken"])
    if global_rank() == 0:
        torch.save((seen, weights), Path(sys.argv[2]))
