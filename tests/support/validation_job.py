"""Run by torchrun in test_validation.py: a validation of each of some cases, and the number of its steps and its loss;
then what every rank raises where the second one cannot read a sample.

torchrun --nproc-per-node 2 validation_job.py FILE
"""

import sys
from pathlib import Path

import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy
from small_models import small_config, talk
from small_training import STAGE, trainer

from interleave import Dataset, Sample
from interleave.core.collectives import all_gather, global_rank
from interleave.core.errors import BadSample, InputError
from interleave.core.types import Batch
from interleave.data.budget import Budget
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource
from interleave.model.assembly import assemble
from interleave.training.lightning_module import LitInterleaved
from interleave.training.parallelize import FSDP2Strategy

CASES = {"whole": (9, ()), "one bad": (9, (3,)), "most bad on one rank": (9, (1, 3, 5)), "fewer than ranks": (1, ())}
"""Name -> samples that are held back, and which of them cannot be read. The second of two ranks reads odd ones."""


class Talks(Dataset):
    """Questions, some of which cannot be read."""

    def __init__(self, size: int, bad: tuple[int, ...] = (), held: Dataset | None = None) -> None:
        self.size, self.bad, self.held = size, bad, held

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        if index in self.bad:
            raise BadSample("timeout", "the clip took longer than 60 s to read")
        return talk(f"question {index}", answer="answer " * (10 + index))

    def id(self, index: int) -> str:
        return str(index)

    def validation(self) -> Dataset | None:
        return self.held


class Broken(Talks):
    """Its sample 3 meets a mistake of the user."""

    def __getitem__(self, index: int) -> Sample:
        if index == 3:
            raise InputError("no such file")
        return super().__getitem__(index)


class Counting(LitInterleaved):
    """Counts the validation steps of this rank."""

    steps = 0

    def validation_step(self, batch: Batch, index: int) -> None:
        self.steps += 1
        super().validation_step(batch, index)


def validate(held: Dataset, strategy: str | Strategy, ranks: int) -> tuple[list[int], float]:
    """Validation steps of every rank, and the loss that is logged."""
    torch.manual_seed(0)
    assembly = assemble(small_config())
    source = ExampleSource(
        {"talks": Talks(20, held=held)}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision
    )
    data = InterleavedData(source, Budget(256, 1, 8), seed=0)
    module = Counting(assembly.model, STAGE)
    runner = trainer(1, strategy=strategy, devices=ranks, num_sanity_val_steps=0)
    runner.validate(module, datamodule=data, verbose=False)
    return all_gather(module.steps), float(runner.callback_metrics["val/loss"])


def results(ranks: int) -> dict[str, tuple[list[int], float]]:
    """Of every case, with DDP and with FSDP2 where there are several ranks."""
    found: dict[str, tuple[list[int], float]] = {}
    for name, (size, bad) in CASES.items():
        if ranks == 1:
            found[name] = validate(Talks(size, bad), "auto", 1)
            continue
        found[f"{name}, ddp"] = validate(Talks(size, bad), DDPStrategy(process_group_backend="gloo"), ranks)
        found[f"{name}, fsdp"] = validate(Talks(size, bad), FSDP2Strategy(), ranks)
    return found


def raised() -> list[str]:
    """What every rank raises where the second one cannot go on."""
    try:
        validate(Broken(9), DDPStrategy(process_group_backend="gloo"), 2)
    except InputError as caught:
        return all_gather(str(caught))
    raise AssertionError("nothing was raised")


if __name__ == "__main__":
    found: dict[str, object] = {**results(2), "InputError": raised()}
    if global_rank() == 0:
        torch.save(found, Path(sys.argv[1]))
