"""When a run writes a checkpoint, and what is kept: ``checkpoints/step-N/``, and ``last``, a link to the newest.

A checkpoint is copied to the CPU, which the step waits for, and written by a thread while the training goes on.
"""

import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from ..core.collectives import LateBroadcast, cpu_group
from ..core.files import remove, replacing
from . import checkpoint_files
from .preemption import Preemption
from .resume import LAST, checkpoint_name, complete_checkpoints


class Checkpoints(Checkpoint):
    """Writes a checkpoint every so many steps or minutes, before SLURM ends the job, and at the end of the training.

    Each rank writes its share. A checkpoint takes its name when all of them have, then ``last`` is moved, then old ones
    are removed. The next one waits for the one before.
    """

    def __init__(
        self,
        folder: str,
        every_n_steps: int | None = 500,
        every_minutes: float | None = None,
        keep: int = 1,
        asynchronous: bool = True,
    ) -> None:
        """folder: of the checkpoints.

        every_n_steps, every_minutes: None for never. keep: how many stay, the newest ones. asynchronous: write while
        the training goes on. Raises ValueError.
        """
        super().__init__()
        if (
            keep < 1
            or (every_n_steps is not None and every_n_steps < 1)
            or (every_minutes is not None and every_minutes <= 0)
        ):
            raise ValueError("keep and every_n_steps must be at least 1, every_minutes more than 0")
        self.folder, self.every_n_steps, self.every_minutes = Path(folder), every_n_steps, every_minutes
        self.keep, self.asynchronous = keep, asynchronous
        self._preemption = Preemption()
        self._writer: ThreadPoolExecutor | None = None
        self._written: Future[None] | None = None  # of the checkpoint that is being written
        self._saved_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make what outlives a single checkpoint. A collective."""
        self._saved_step = trainer.global_step  # where a run goes on: that step has its checkpoint
        self._saved_at, self._told = time.monotonic(), False
        self._preemption.watch()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._group = cpu_group()  # the thread's own, since the training's collectives go on meanwhile
        self._staging = checkpoint_files.Staging()
        asks = self.every_minutes is not None or self._preemption.is_watched
        self._rank_0_asks = LateBroadcast() if asks else None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Save where it is due: the same decision on every rank."""
        step = trainer.global_step
        asked = self._rank_0_asks is not None and self._rank_0_asks(self._is_due(trainer))
        is_turn = self.every_n_steps is not None and step % self.every_n_steps == 0
        if (asked or is_turn) and step > self._saved_step:  # else the batch was a micro-batch within a step
            self.save(trainer)
            if self._preemption.is_told:
                self.wait()
                self._preemption.requeue(trainer.is_global_zero)

    def _is_due(self, trainer: Trainer) -> bool:
        """Whether rank 0 asks for a checkpoint now, by its clock or since the job will end; it asks once for each."""
        if self._told or not trainer.is_global_zero:
            return False
        minutes = (time.monotonic() - self._saved_at) / 60
        self._told = self._preemption.is_told or (self.every_minutes is not None and minutes >= self.every_minutes)
        return self._told

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last step, which need not be one at which it is due, and wait for all that is being written."""
        if trainer.global_step > self._saved_step:
            self.save(trainer)
        self.wait()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let a checkpoint that is being written be finished, also where the training ends by an error."""
        if self._writer is None:
            return
        self._writer.shutdown()
        if self._rank_0_asks is not None:
            self._rank_0_asks.finish()
        self._staging.close()
        self._writer = None

    def save(self, trainer: Trainer) -> None:
        """Begin a checkpoint of this step. A collective. Raises InputError, on every rank, for weights that are not
        finite and where the checkpoint before could not be written; then nothing is replaced."""
        assert self._writer is not None
        self.wait()
        target = self.folder / checkpoint_name(trainer.global_step)
        with ExitStack() as stack:
            part = target
            if trainer.is_global_zero:
                self._remove_interrupted()
                part = stack.enter_context(replacing(target))
                part.mkdir()
            part = trainer.strategy.broadcast(part)
            trainer.save_checkpoint(
                part / checkpoint_files.META
            )  # without tensors: see LitInterleaved.on_save_checkpoint
            share = checkpoint_files.share_of_rank(_all_tensors(trainer))
            copies = self._staging.copies(share)
            self._written = self._writer.submit(self._write, part, copies, stack.pop_all(), trainer.is_global_zero)
        self._saved_step, self._saved_at, self._told = trainer.global_step, time.monotonic(), False
        if not self.asynchronous:
            self.wait()

    def wait(self) -> None:
        """Until the checkpoint that is being written is complete. Raises InputError where it could not be written."""
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def _write(self, part: Path, share: Mapping[str, Tensor], unfinished: ExitStack, is_rank_0: bool) -> None:
        """What the thread does: write this rank's share; on rank 0 give the whole its name and remove old ones.

        unfinished: takes the name where it is left.
        """
        with unfinished:
            checkpoint_files.write_tensors(part, share, self._group)
            if is_rank_0:
                with (part / checkpoint_files.META).open("rb+") as meta:
                    os.fsync(meta.fileno())  # on the disk before the rename, so that a power cut cannot swap the two
        if is_rank_0:
            self._point_to_newest()

    def _point_to_newest(self) -> None:
        *older, newest = complete_checkpoints(self.folder.parent)
        with replacing(self.folder / LAST) as link:
            link.symlink_to(newest.name)  # relative, so that a run can be moved
        for old in older[: len(older) + 1 - self.keep]:
            remove(old)

    def _remove_interrupted(self) -> None:
        """Remove what a killed run had begun to write."""
        for hidden in self.folder.glob(".step-*"):
            remove(hidden)


def _all_tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Everything of a run that is a tensor, as it lies on this rank."""
    (optimizer,) = trainer.optimizers
    model = trainer.lightning_module.get_submodule("model")
    return checkpoint_files.model_tensors(model) | checkpoint_files.optimizer_tensors(model, optimizer)
