"""Run by torchrun in test_periodic.py, and by the test itself: training with and without tasks in between.

torchrun --nproc-per-node 2 periodic_job.py ddp|fsdp FILE
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from full_weights import full_state
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, Strategy
from parallel_job import Losses, batches
from small_models import small_config
from torch import Tensor
from torch.utils.data import DataLoader

import interleave as il
from interleave.core.collectives import global_rank
from interleave.core.types import Batch
from interleave.evaluation.reply import Reply
from interleave.model.assembly import Assembly, assemble
from interleave.training import parallelize
from interleave.training.evaluation_callback import Period, PeriodicEvaluation
from interleave.training.lightning_module import LitInterleaved
from interleave.training.optimizer import PARTS, Stage
from interleave.training.parallelize import TOWERS

STEPS = 6
"""Optimizer steps; each takes two batches, by two ranks or by accumulation."""
Record = Mapping[str, Any]


class Outcome(TypedDict):
    """What a training leaves.

    losses: of all steps.
    modes: what ``Modes`` saw.
    asked: what ``Kept`` saw.
    weights: by name, whole on rank 0.
    random: the state of torch's random generator.
    """

    losses: list[float]
    modes: list[tuple[int, int]]
    asked: list[list[tuple[int, str | None]]]
    weights: dict[str, Tensor]
    random: Tensor


class Shades(il.Task):
    """A task of grey pictures whose third cannot be read. Replies are sampled and scoring draws a random number, so a
    training is changed by it unless the generator's state is restored.
    """

    generation: Mapping[str, Any] = {"max_new_tokens": 4, "temperature": 1.0}

    def __init__(self, count: int = 7) -> None:
        self.count = count

    def records(self) -> Sequence[Record]:
        return [{"id": i} for i in range(self.count)]

    def sample(self, record: Record) -> il.Sample:
        picture = "nowhere.png" if record["id"] == 2 else np.full((8, 8, 3), 30 * record["id"], np.uint8)
        return il.Sample([il.Message("user", ["x" * record["id"], il.Media("image", picture), "?"])])

    def answer(self, record: Record) -> str:
        return "grey"

    def score(self, record: Record, reply: str) -> dict[str, float]:
        torch.rand(())
        return {"length": float(len(reply))}


class Noisy(LitInterleaved):
    """Training whose steps draw random numbers: a callback that draws one, too, would change what is learned."""

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss: Tensor = super().training_step(batch, index) * (1 + 0.1 * torch.rand(()))
        return loss


class Kept(PeriodicEvaluation):
    """Evaluation that remembers in ``asked``, each time, the numbers and replies of all items."""

    def __init__(self, period: Period, tasks: Mapping[str, il.Task], assembly: Assembly) -> None:
        super().__init__(period, tasks, assembly)
        self.asked: list[list[tuple[int, str | None]]] = []

    def ask(self, trainer: Trainer, module: LitInterleaved) -> list[Reply]:
        replies = super().ask(trainer, module)
        self.asked.append(sorted((r.index, r.reply) for r in replies))
        return replies


class Modes(Callback):
    """Remembers in ``seen``, at the start of every batch, how many modules are in training mode and how many parameters
    have a gradient.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        training = sum(module.training for module in pl_module.modules())
        self.seen.append((training, sum(p.grad is not None for p in pl_module.parameters())))


def train(strategy: str, ranks: int, every: int | None, count: int = 7, **options: object) -> Outcome:
    """A training whose task is asked every ``every`` steps; None for no task.

    strategy: ``one`` process, ``ddp`` or ``fsdp``. count: items of the task. options: of the trainer.
    """
    torch.manual_seed(0)
    assembly = assemble(small_config())
    stage = Stage(dict.fromkeys(PARTS, 1e-2), weight_decay=0.1)
    module = Noisy(
        assembly.model, stage, checkpoint_activations=dict.fromkeys(TOWERS, "full") if strategy == "fsdp" else None
    )
    module.model.vision_encoder.eval()  # as one may who freezes it; it must stay so
    losses, modes = Losses(), Modes()
    period = Period(every=every, items=count, batch=2)
    kept = [Kept(period, {"shades": Shades(count)}, assembly)] if every else []
    strategies: dict[str, str | Strategy] = {
        "one": "auto",
        "ddp": DDPStrategy(process_group_backend="gloo"),
        "fsdp": parallelize.FSDP2Strategy(),
    }
    trainer = Trainer(
        accelerator="cpu", devices=ranks, strategy=strategies[strategy], max_steps=STEPS, gradient_clip_val=0.5,
        accumulate_grad_batches=2 // ranks, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, callbacks=[losses, modes, *kept],
        **{"logger": False, "log_every_n_steps": 1, **options},
    )  # fmt: skip
    own = batches(assembly, ranks)[trainer.global_rank]
    trainer.fit(module, DataLoader(own, batch_size=None, collate_fn=lambda b: b))  # type: ignore[arg-type]
    return {
        "losses": losses.seen,
        "modes": modes.seen,
        "asked": kept[0].asked if kept else [],
        "weights": full_state(module.model),
        "random": torch.get_rng_state(),
    }


if __name__ == "__main__":
    strategy, target = sys.argv[1:]
    torch.manual_seed(0)
    outcomes = [train(strategy, 2, None), train(strategy, 2, 2), train(strategy, 2, 3, 1)]
    if global_rank() == 0:
        torch.save(outcomes, Path(target))
