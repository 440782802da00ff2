"""Tasks asked every so many steps while a model is being trained, without a trace in the training itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import wandb
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torchvision.utils import make_grid  # type: ignore[import-untyped]

from ..core.collectives import all_gather, global_rank, world_size
from ..core.errors import InputError
from ..evaluation.batch_plan import outlines, windows
from ..evaluation.reply import Reply
from ..evaluation.runner import Job, Runner, Settings
from ..inference.lm import LM
from ..interfaces.task import Scored, Task
from ..media.images import uniform
from ..model.assembly import Assembly
from ..processing.render import render
from ..training import parallelize
from .lightning_module import LitInterleaved

COLUMNS = ["step", "id", "group", "pictures", "prompt", "reply", "answer", "scores"]
"""Of the table."""
VIEWS = 16
"""Views of an item that a table shows at most."""


@dataclass(frozen=True)
class Period:
    """every: optimiser steps between evaluations; None never evaluates. tasks: names of the chosen ones that are asked;
    None asks all. items: of each task, spread evenly. rows: of them that a wandb table shows. batch: items at once.
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
        """Raises InputError for a task that is not chosen."""
        wanted = period.tasks if period.tasks is not None else list(tasks)
        for name in wanted:
            if name not in tasks:
                raise InputError(f"evaluate.tasks names {name!r}; chosen are task=[{','.join(tasks)}]")
        self.period, self.tasks, self.assembly = period, {name: tasks[name] for name in wanted}, assembly
        self.settings = Settings(batch=period.batch, num_workers=2)
        self.jobs = [job for name, task in self.tasks.items() for job in self._jobs(name, task)]
        if not self.jobs:
            raise InputError(f"evaluate.every is {period.every}, but no task is chosen; choose task=[...]")
        self._last = 0

    def _jobs(self, name: str, task: Task) -> list[Job]:
        items = outlines(task)
        chosen = [items[i] for i in uniform(len(items), self.period.items)]
        return [Job(name, task, task.records(), run, {}) for run in windows(chosen, self.period.batch)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step == self._last or self.period.every is None or step % self.period.every:  # or within a step
            return
        self._last = step
        assert isinstance(pl_module, LitInterleaved)
        replies = self.ask(trainer, pl_module)
        for name, task in self.tasks.items():
            mine = sorted((r for r in replies if r.task == name), key=lambda r: r.index)
            self._log(trainer, pl_module, name, task, mine)

    def ask(self, trainer: Trainer, module: LitInterleaved) -> list[Reply]:
        """Replies of all ranks, on every rank. Raises InputError on all where one does."""
        rank, world = global_rank(), world_size()
        lm = LM(Assembly(module.model, self.assembly.adapters, self.assembly.vision), {})
        mine: list[Reply] = []
        failed: InputError | None = None
        with isolate_rng(), parallelize.unsharded(module.model), trainer.precision_plugin.forward_context():
            try:
                for asked in Runner(lm, self.settings).run(self.jobs[rank::world]):
                    mine += asked.replies
            except InputError as error:  # the others wait for this rank
                failed = error
        gathered: list[tuple[list[Reply], InputError | None]] = all_gather((mine, failed))
        for _, problem in gathered:
            if problem:
                raise problem
        return [reply for part, _ in gathered for reply in part]

    def _log(self, trainer: Trainer, module: LightningModule, name: str, task: Task, replies: Sequence[Reply]) -> None:
        records = task.records()
        scored = [Scored(records[r.index], r.reply or "", r.scores) for r in replies if r.scores is not None]
        metrics: dict[str, float] = {f"val/{name}_items": len(scored)}  # fewer than asked where some cannot be read
        if scored:
            metrics[f"val/{name}"] = next(iter(task.total(scored).values()))
            module.log(f"val/{name}", metrics[f"val/{name}"], prog_bar=True, logger=False)  # for who watches it
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step - 1)
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                rows = self._rows(trainer.global_step, task, replies)
                logger.log_table(f"samples/{name}", columns=COLUMNS, data=rows)

    def _rows(self, step: int, task: Task, replies: Sequence[Reply]) -> list[list[Any]]:
        shown = [replies[i] for i in uniform(len(replies), self.period.rows)]
        return [
            [step, r.id, r.group, self._pictures(task, r), r.prompt, r.reply, r.answer, json.dumps(r.scores)]
            for r in shown
        ]

    def _pictures(self, task: Task, reply: Reply) -> Any:
        """All views that the model was fed, side by side; None for an item without any."""
        if reply.error:
            return None
        sample = task.sample(task.records()[reply.index])
        example = render(sample, self.assembly.adapters, self.assembly.model.llm.tokenizer, reply=True)
        if not example.visuals:
            return None
        views = torch.cat([visual.pixel_values for visual in example.visuals])[:VIEWS]
        return wandb.Image(_grid(views))


def _grid(views: Tensor) -> Any:
    """(V, 3, S, S) uint8 -> one picture as an array (H, W, 3)."""
    return make_grid(views, nrow=4, pad_value=255).permute(1, 2, 0).numpy()
