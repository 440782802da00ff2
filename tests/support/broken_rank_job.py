"""Run by torchrun in test_broken_ranks.py: trainings in which the second rank cannot read its data, and what each rank
raises then.

torchrun --nproc-per-node 2 broken_rank_job.py FILE
"""

import multiprocessing
import os
import signal
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning.pytorch.strategies import DDPStrategy
from small_models import small_config
from small_training import STAGE, Endless, trainer

from interleave.core.collectives import all_gather, global_rank
from interleave.core.errors import InputError
from interleave.core.types import Example
from interleave.data.budget import Budget
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource
from interleave.model.assembly import assemble
from interleave.training.lightning_module import LitInterleaved

BEGINNING = 200
"""Samples of each rank that are sound."""


class Killed(Exception):
    """Stands for a signal that ends the process."""


@dataclass(frozen=True)
class Failing(ExampleSource):
    """On the second rank meets what no border of a sample holds, once training is under way."""

    error: Exception | None = None
    rendered: list[int] = field(default_factory=list)

    def example(self, name: str, index: int) -> Example | InputError:
        self.rendered.append(index)
        if global_rank() == 1 and len(self.rendered) > BEGINNING and self.error:
            if isinstance(self.error, Killed):
                os.kill(os.getpid(), signal.SIGKILL)
            raise self.error
        return super().example(name, index)


def raised(error: Exception, prefetch: int, num_workers: int = 0) -> list[str]:
    """What every rank raises, and its last word on where."""
    torch.manual_seed(0)
    assembly = assemble(small_config())
    source = Failing(
        {"endless": Endless()}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision, error=error
    )
    data = InterleavedData(source, Budget(128, 1, 8), seed=1, num_workers=num_workers, prefetch=prefetch)
    fit = trainer(50, strategy=DDPStrategy(process_group_backend="gloo"), devices=2)
    try:
        fit.fit(LitInterleaved(assembly.model, STAGE), datamodule=data)
    except Exception as caught:  # noqa: BLE001
        places = [frame.name for frame in traceback.extract_tb(caught.__traceback__)]
        return all_gather(f"step {fit.global_step}, {type(caught).__name__} in {places[-1]}: {caught}")
    raise AssertionError("nothing was raised")


if __name__ == "__main__":
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as where torchrun starts the ranks
    found = {
        "program": raised(KeyError("no such\nfield"), 2),
        "at once": raised(KeyError("no such\nfield"), 0),
        "user": raised(InputError("no such file"), 2),
        "killed": raised(Killed(), 2, num_workers=1),
    }
    if global_rank() == 0:
        torch.save(found, Path(sys.argv[1]))
