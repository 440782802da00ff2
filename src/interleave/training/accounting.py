"""What a run achieves: how fast it is, what of a step takes how long, and how much memory it needs."""

import resource
import time
from dataclasses import dataclass, field

import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..core.collectives import all_reduce_sum, global_rank, world_size
from ..core.types import Batch
from ..costs.memory import GIB
from ..costs.work import ModelWork, Quantities, model_work
from ..data.log_steps import LogSteps
from .lightning_module import LitInterleaved
from .step_times import DATA, StepTimes


@dataclass
class LogInterval:
    """What this rank did since the log step before. Numbers are sums over micro-batches.

    positions: tokens with padding. samples: documents. begun: when it began, by the host's clock. waited: seconds that
    steps had waited for data before it began.
    """

    waited: float
    begun: float = field(default_factory=time.perf_counter)
    quantities: Quantities = field(default_factory=lambda: Quantities(0, 0, 0, 0))
    positions: int = 0
    samples: int = 0

    def add(self, batch: Batch) -> None:
        """Count one more micro-batch."""
        self.quantities = self.quantities + Quantities.of(batch)
        self.positions += batch.input_ids.numel()
        self.samples += len(batch.document_lengths)


class Accounting(Callback):
    """Logs speed and memory of all ranks together at every log step, over the time since the one before.

    ``speed/``: real tokens, samples and views a second; seconds a step; the shares of padding among tokens, and of
    time in which a step waits for data; MFU, the share of the devices' peak that useful work takes, twice: ``mfu`` of
    all parts as they are done (frozen ones forward only, real tokens only, and not what activation checkpointing
    computes again), ``mfu_llm`` as most reports count it. ``memory/``: the peak of the fullest device and of the
    largest process, in GiB.

    One step in ``split_every`` is measured with waits for the device: ``speed/seconds_PART`` of its parts.
    """

    def __init__(self, peak_flops: float | None = None, split_every: int | None = None) -> None:
        """peak_flops: FLOPs a second that one device could do; None logs no MFU. split_every: optimiser steps; None
        measures none."""
        self.peak_flops, self.split_every = peak_flops, split_every
        self._log_steps = LogSteps()
        self._work: ModelWork | None = None
        self._marks: list[RemovableHandle] = []
        self._times = StepTimes()
        self._before_split: dict[str, float] | None = None  # seconds when the step that is measured began
        self._interval = LogInterval(0.0)
        self._last_step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Count the work of a token and of a view, before the model is sharded."""
        assert isinstance(pl_module, LitInterleaved)
        if self._work is None:
            self._work = model_work(pl_module.model, pl_module.checkpoint_activations)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, LitInterleaved)
        profiler: object = trainer.profiler  # type: ignore[attr-defined]
        if isinstance(profiler, StepTimes):  # else the config has another one, and waits are not known
            self._times = profiler
        self._marks = _mark_parts(pl_module.model, self._times)
        self._last_step = trainer.global_step
        self._begin()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for mark in self._marks:
            mark.remove()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Begin to measure where the next optimiser step is one that is split."""
        if self.split_every and not self._times.waits and (trainer.global_step + 1) % self.split_every == 0:
            self._times.waits = True
            self._before_split = dict(self._times.seconds)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self._interval.add(batch)
        if self._before_split is not None and trainer.global_step % (self.split_every or 1) == 0:
            self._log_split(pl_module, self._before_split)
            self._times.waits, self._before_split = False, None
        if self._log_steps.over(trainer):
            self._log(trainer, pl_module)
            self._begin()
            self._last_step = trainer.global_step

    def _begin(self) -> None:
        self._interval = LogInterval(self._times.seconds[DATA])
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def _log_split(self, module: LightningModule, before: dict[str, float]) -> None:
        for part, seconds in self._times.seconds.items():
            if part != DATA:  # its wait was before the step
                module.log(f"speed/seconds_{part}", seconds - before.get(part, 0.0))

    def _log(self, trainer: Trainer, module: LightningModule) -> None:
        """A collective, which each rank must call. It waits for the device."""
        assert self._work is not None
        done = self._interval
        q, seconds = done.quantities, time.perf_counter() - done.begun
        work = [self._work.total(q).useful, self._work.llm_alone(q)]
        spent = [seconds, self._times.seconds[DATA] - done.waited]
        counts = [q.tokens, done.positions, done.samples, q.views]
        ranks = _of_all_ranks([*counts, *work, *spent, *_peaks()], module.device)  # (ranks, 10)
        tokens, positions, samples, views, useful, llm, _, waited, _, _ = ranks.sum(0).tolist()
        longest = float(ranks[:, 6].max())  # ranks wait for the slowest
        speed = {
            "tokens_per_second": tokens / longest,
            "samples_per_second": samples / longest,
            "views_per_second": views / longest,
            "step_seconds": longest / (trainer.global_step - self._last_step),
            "padding": 1 - tokens / positions,
            "data_wait": waited / len(ranks) / longest,
        }
        if self.peak_flops:
            could = self.peak_flops * len(ranks) * longest
            speed |= {"mfu": useful / could, "mfu_llm": llm / could}
        module.log_dict({f"speed/{name}": value for name, value in speed.items()})
        on_device, on_host = ranks[:, 8:].max(0).values.tolist()
        module.log("memory/host_gib", on_host / GIB)
        if torch.cuda.is_available():
            module.log("memory/device_gib", on_device / GIB)


def _of_all_ranks(values: list[float], device: torch.device) -> torch.Tensor:
    """The values of each rank, (ranks, values) float64 on the CPU: one collective."""
    table = torch.zeros(world_size(), len(values), dtype=torch.float64, device=device)
    table[global_rank()] = torch.tensor(values, dtype=torch.float64, device=device)
    return all_reduce_sum(table).cpu()


def _peaks() -> list[float]:
    """The most bytes that were allocated on the device since the log step before, and that the process ever had in
    memory."""
    on_device = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return [on_device, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]  # the system counts KiB


def _mark_parts(model: nn.Module, times: StepTimes) -> list[RemovableHandle]:
    """Let the forward passes of the vision side and of the language model be actions of their own."""
    vision, projector, llm = (model.get_submodule(part) for part in ("vision_encoder", "projector", "llm"))
    return [
        vision.register_forward_pre_hook(lambda *_: times.begin("vision")),
        projector.register_forward_hook(lambda *_: times.end("vision")),
        llm.register_forward_pre_hook(lambda *_: times.begin("llm")),
        llm.register_forward_hook(lambda *_: times.end("llm")),
    ]
