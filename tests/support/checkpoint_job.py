"""Trainings that write checkpoints and go on from them, by one process or, run by torchrun, by several.

torchrun --nproc-per-node 2 checkpoint_job.py change|both FILE FOLDER
torchrun --nproc-per-node 4 checkpoint_job.py read FILE FOLDER
"""

import os
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, Strategy
from small_models import small_config
from small_training import STAGE, Endless
from torch.distributed.tensor import DTensor

from interleave.core.collectives import global_rank
from interleave.data.budget import Budget
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource
from interleave.model.assembly import assemble
from interleave.training import checkpoint_files, parallelize
from interleave.training.checkpointing import Checkpoints
from interleave.training.lightning_module import LitInterleaved
from interleave.training.weight_export import export_weights

STEPS, CUT = 6, 3
"""Of a whole run, and of one that is cut off."""
EXPORTED_BYTES = 20_000
"""Of a file."""


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        trainer.should_stop = trainer.global_step >= self.step


def run(
    strategy: str, checkpoints: Checkpoints, until: int = STEPS, resume: Path | None = None, export: Path | None = None
) -> dict[str, torch.Tensor]:
    """Train, by ``one`` process, ``ddp`` or ``fsdp``, and return all tensors of model and optimiser, whole.

    export: a folder for the weights, in bf16 and in several files.
    """
    torch.manual_seed(0)
    assembly = assemble(small_config())
    source = ExampleSource({"endless": Endless()}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    data = InterleavedData(source, Budget(128, 2, 8), seed=1)
    module = LitInterleaved(assembly.model, STAGE)
    strategies: dict[str, str | Strategy] = {
        "one": "auto",
        "ddp": DDPStrategy(process_group_backend="gloo"),
        "fsdp": parallelize.FSDP2Strategy(),
    }
    trainer = Trainer(
        accelerator="cpu", devices=int(os.environ.get("WORLD_SIZE", "1")),
        strategy=strategies[strategy], max_steps=STEPS, logger=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, callbacks=[StopAt(until), checkpoints],
        default_root_dir=checkpoints.folder.parent,
    )  # fmt: skip
    trainer.fit(module, datamodule=data, ckpt_path=resume / "meta.pt" if resume else None, weights_only=True)
    module.restore()
    if export:
        export_weights(export, module.model, None, torch.bfloat16, EXPORTED_BYTES)
    (optimizer,) = trainer.optimizers
    own = checkpoint_files.model_tensors(module.model) | checkpoint_files.optimizer_tensors(module.model, optimizer)
    return {name: (t.full_tensor() if isinstance(t, DTensor) else t).detach().clone() for name, t in own.items()}


def checkpoints_in(folder: Path) -> Checkpoints:
    return Checkpoints(str(folder / "checkpoints"), every_n_steps=2)


def change(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """A whole run under FSDP2, one that is cut off, and that one gone on with under DDP."""
    return {
        "whole": run("fsdp", checkpoints_in(folder / "whole")),
        "cut": run("fsdp", checkpoints_in(folder / "cut"), CUT),
        "more": run("ddp", checkpoints_in(folder / "more"), resume=folder / "cut/checkpoints/last"),
    }


def read(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """What is read from the end of a run that other processes wrote."""
    return {
        "read": run(
            "fsdp", checkpoints_in(folder / "nothing"), resume=folder / "more/checkpoints/last", export=folder / "by-4"
        )
    }


def both(folder: Path) -> None:
    """Write all checkpoints of a run while it waits, and while it goes on: a thread is late with each."""
    run("fsdp", Checkpoints(str(folder / "waits/checkpoints"), every_n_steps=2, keep=9, asynchronous=False))
    write = checkpoint_files.write_tensors

    def late(*arguments: Any) -> None:
        time.sleep(0.5)
        write(*arguments)

    with patch.object(checkpoint_files, "write_tensors", late):
        run("fsdp", Checkpoints(str(folder / "goes-on/checkpoints"), every_n_steps=2, keep=9))


if __name__ == "__main__":
    outcome = {"change": change, "read": read, "both": both}[sys.argv[1]](Path(sys.argv[3]))
    if global_rank() == 0:
        torch.save(outcome, sys.argv[2])
