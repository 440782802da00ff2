"""Tasks asked every so many steps while a model is being trained, without a trace in the training itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import wandb
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torchvision.utils import make_grid

from ..core.collectives import all_gather, global_rank, world_size
from ..core.errors import InputError
from ..evaluation.batch_plan import outlines, windows
from ..evaluation.reply import Reply
from ..evaluation.runner import AskJob, Runner, Settings
from ..inference.lm import LM
from ..interfaces.task import Scored, Task
from ..media.images import uniform
from ..model.assembly import Assembly
from ..processing.render import render
from . import parallelize
from .lightning_module import LitInterleaved

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TABLE_COLUMNS = ["step", "id", "group", "pictures", "prompt", "reply", "answer", "scores"]
"""Columns of the wandb table ``samples/TASK``, a row of which is one item."""
MAX_VIEWS = 16
"""The most views of an item that the table shows."""


@dataclass(frozen=True)
class Period:
    """Options of ``evaluate``: when a model in training is asked, and what.

    every: optimiser steps between evaluations; None never evaluates.
    tasks: names of the chosen tasks that are asked; None asks all of them.
    items: how many of each task, spread evenly over its records.
    rows: how many of them a wandb table shows.
    batch: the most items that are asked at once.
    """

    every: int | None = None
    tasks: Sequence[str] | None = None
    items: int = 64
    rows: int = 8
    batch: int = 16

    def __post_init__(self) -> None:
        for name in ("every", "items", "rows", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")


class PeriodicEvaluation(Callback):
    """Logs ``val/TASK``, the task's first metric, and in wandb a table of what was asked and answered.

    Every rank asks its share by itself, with all weights where they are sharded, and all meet twice: before, and to put
    the replies together. Weights, gradients, modes, random numbers and the loader are afterwards as they were.
    """

    def __init__(self, period: Period, tasks: Mapping[str, Task], assembly: Assembly) -> None:
        """Raises InputError for a task in ``period.tasks`` that is not among ``tasks``, and where there is none."""
        names = period.tasks if period.tasks is not None else list(tasks)
        for name in names:
            if name not in tasks:
                raise InputError(f"evaluate.tasks names {name!r}; chosen are task=[{','.join(tasks)}]")
        self.period, self.assembly = period, assembly
        self.tasks = {name: tasks[name] for name in names}
        self.settings = Settings(batch=period.batch, num_workers=2)
        self.jobs: list[AskJob] = []
        for name, task in self.tasks.items():
            self.jobs += self._jobs(name, task)
        if not self.jobs:
            raise InputError(f"evaluate.every is {period.every}, but no task is chosen; choose task=[...]")
        self._last_step = 0

    def _jobs(self, name: str, task: Task) -> list[AskJob]:
        """The chosen items of a task, as runs of items that are planned together."""
        items = outlines(task)
        chosen = [items[i] for i in uniform(len(items), self.period.items)]
        return [AskJob(name, task, task.records(), window, {}) for window in windows(chosen, self.period.batch)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last_step = trainer.global_step  # where a run goes on: that step was evaluated before

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Evaluate after every ``period.every`` optimiser steps."""
        step = trainer.global_step
        if step == self._last_step:  # the batch was a micro-batch within a step
            return
        if self.period.every is None or step % self.period.every:
            return
        self._last_step = step
        assert isinstance(pl_module, LitInterleaved)
        replies = self.ask(trainer, pl_module)
        for name, task in self.tasks.items():
            own = [reply for reply in replies if reply.task == name]
            own.sort(key=lambda reply: reply.index)
            self._log(trainer, pl_module, name, task, own)

    def ask(self, trainer: Trainer, module: LitInterleaved) -> list[Reply]:
        """Replies of all ranks, on every rank: a collective. Raises InputError on all of them where one does."""
        lm = LM(Assembly(module.model, self.assembly.adapters, self.assembly.vision), {})
        jobs = self.jobs[global_rank() :: world_size()]
        own: list[Reply] = []
        error: InputError | None = None
        with isolate_rng(), parallelize.unsharded(module.model), trainer.precision_plugin.forward_context():
            try:
                for asked in Runner(lm, self.settings).run(jobs):
                    own += asked.replies
            except InputError as caught:  # raised below: the other ranks wait for this one to meet them
                error = caught
        gathered: list[tuple[list[Reply], InputError | None]] = all_gather((own, error))
        replies: list[Reply] = []
        for replies_of_rank, error_of_rank in gathered:
            if error_of_rank:
                raise error_of_rank
            replies += replies_of_rank
        return replies

    def _log(self, trainer: Trainer, module: LightningModule, name: str, task: Task, replies: Sequence[Reply]) -> None:
        records = task.records()
        scored = [Scored(records[r.index], r.reply or "", r.scores) for r in replies if r.scores is not None]
        metrics: dict[str, float] = {f"val/{name}_items": len(scored)}  # fewer than asked where some cannot be read
        if scored:
            metrics[f"val/{name}"] = next(iter(task.total(scored).values()))
            # only for the progress bar: loggers get it below, with the step it belongs to
            module.log(f"val/{name}", metrics[f"val/{name}"], prog_bar=True, logger=False)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step - 1)  # Lightning counts logged steps from 0
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                rows = self._rows(trainer.global_step, task, replies)
                logger.log_table(f"samples/{name}", columns=TABLE_COLUMNS, data=rows)

    def _rows(self, step: int, task: Task, replies: Sequence[Reply]) -> list[list[object]]:
        """Rows of ``TABLE_COLUMNS`` for some of the items, spread evenly."""
        rows: list[list[object]] = []
        for i in uniform(len(replies), self.period.rows):
            reply = replies[i]
            pictures, scores = self._pictures(task, reply), json.dumps(reply.scores)
            rows.append([step, reply.id, reply.group, pictures, reply.prompt, reply.reply, reply.answer, scores])
        return rows

    def _pictures(self, task: Task, reply: Reply) -> wandb.Image | None:
        """The views that the model was fed, side by side; None for an item without any."""
        if reply.error:
            return None
        sample = task.sample(task.records()[reply.index])
        example = render(sample, self.assembly.adapters, self.assembly.model.llm.tokenizer, reply=True)
        if not example.visuals:
            return None
        views = torch.cat([visual.pixel_values for visual in example.visuals])[:MAX_VIEWS]  # (V, 3, S, S)
        return wandb.Image(_grid(views))


def _grid(views: Tensor) -> "NDArray[np.uint8]":
    """Views (V, 3, S, S) uint8 as one picture (H, W, 3), four of them in a row."""
    grid: Tensor = make_grid(views, nrow=4, pad_value=255)  # (3, H, W)
    return grid.permute(1, 2, 0).numpy()
