"""Run by torchrun in test_layouts.py: trainings that go on where another layout, of other processes, left them.

torchrun --nproc-per-node 4|2 layout_job.py FILE FOLDER
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from checkpoint_job import StopAt
from lightning import Trainer
from parallel_job import Losses
from sharding_job import Case, begin, strategy_of
from torch.utils.data import DataLoader, IterableDataset

from interleave.core.collectives import global_rank
from interleave.core.types import Batch
from interleave.training.checkpointing import Checkpoints
from interleave.training.parallelize_units import DEFAULT_SHARDING, Sharding

MICRO_BATCHES = 4
"""Of a step, by all ranks together."""
ENDS = {4: 2, 2: 3, 1: 4}
"""Number of processes -> the step at which they stop; one process by itself has begun, and takes one step."""
BEGUN, STEPS = 1, 4


@dataclass(frozen=True)
class Chain:
    """How a training goes through layouts; None is DDP."""

    case: Case
    by_four: Sharding | None = DEFAULT_SHARDING
    by_two: Sharding | None = DEFAULT_SHARDING


CHAINS = {
    "adapters: replicas, then DDP": Chain(Case(lora=True, tied=False), Sharding(replicate=2), None),
    "preferences: offload, then shards": Chain(Case(dpo=True), Sharding(offload=True)),
    "frozen vision: whole, then replicas": Chain(
        Case(frozen=("vision_encoder",)), Sharding(frozen="replicate"), Sharding(replicate=2)
    ),
    "frozen towers: DDP, then whole": Chain(
        Case(frozen=("vision_encoder", "llm", "newline")), None, Sharding(frozen="replicate", offload=True)
    ),
}


class Given(IterableDataset[Batch]):
    """The batches as they are, of no known number."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


def go_on(case: Case, sharding: Sharding | None, ranks: int, run: Path, start: int, end: int) -> list[float]:
    """Losses of the steps after ``start`` up to ``end``, from the checkpoint in ``run``, where those of all steps are
    left."""
    module, every = begin(case)
    losses = Losses()
    trainer = Trainer(
        accelerator="cpu", devices=ranks, strategy=strategy_of(sharding, ranks), max_steps=STEPS,
        gradient_clip_val=0.5, accumulate_grad_batches=MICRO_BATCHES // ranks, logger=False, log_every_n_steps=1,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        callbacks=[losses, StopAt(end), Checkpoints(str(run / "checkpoints"), every_n_steps=1, keep=9)],
    )  # fmt: skip
    own = every[start * MICRO_BATCHES : end * MICRO_BATCHES][trainer.global_rank :: ranks]
    resume = str(run / f"checkpoints/step-{start}/meta.pt") if start else None
    trainer.fit(module, DataLoader(Given(own), batch_size=None), ckpt_path=resume, weights_only=True)
    return losses.seen[-(end - start) :]


if __name__ == "__main__":
    ranks = int(os.environ["WORLD_SIZE"])
    end = ENDS[ranks]
    learned: dict[str, list[float]] = {}
    for name, chain in CHAINS.items():
        print(name, flush=True)  # what fails is then the last one named
        sharding = chain.by_four if ranks == 4 else chain.by_two
        learned[name] = go_on(chain.case, sharding, ranks, Path(sys.argv[2], name), end - 1, end)
    if global_rank() == 0:
        torch.save(learned, Path(sys.argv[1]))
