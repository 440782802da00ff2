"""``debug=profile``: what a few steps do, as a Chrome trace and as a page to read."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile, record_function, schedule
from torch.utils.hooks import RemovableHandle

from ..core.errors import InputError
from .lightning_module import LitInterleaved

TRACE_FILE, SUMMARY_FILE = "trace.json", "summary.md"
MARKED_PARTS = ("vision_encoder", "projector", "llm")
"""Parts whose forward passes are ranges of their own in the trace, under these names."""
LISTED_OPERATIONS = 15
"""How many operations the summary lists."""


class Profile(Callback):
    """Records some steps of rank 0 with torch's profiler.

    The trace, ``trace.json``, opens in chrome://tracing or ui.perfetto.dev; ``summary.md`` says how long a step took,
    what of it the parts' forward passes took, and which operations took most.
    """

    def __init__(self, folder: str, skip: int = 3, steps: int = 3) -> None:
        """folder: where both files are written. skip: micro-batches that pass before. steps: those that are recorded.

        Raises InputError for fewer than one step.
        """
        if steps < 1 or skip < 0:
            raise InputError(f"callbacks.profile has steps={steps} and skip={skip}; it needs at least 1 and 0")
        self.folder, self.skip, self.steps = Path(folder), skip, steps
        self._profiler: profile | None = None
        self._ranges: list[RemovableHandle] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count micro-batches. Raises InputError where the run has too few."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, LitInterleaved)
        has = trainer.max_steps * trainer.accumulate_grad_batches
        if has < self.skip + 1 + self.steps:
            raise InputError(
                f"debug=profile records micro-batches {self.skip + 2} to {self.skip + 1 + self.steps}, and the run has "
                f"{has}; raise trainer.max_steps or lower callbacks.profile.skip"
            )
        for part in MARKED_PARTS:
            self._ranges += _mark(pl_module.model.get_submodule(part), part)
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._profiler = profile(
            activities=activities,
            schedule=schedule(wait=self.skip, warmup=1, active=self.steps, repeat=1),
            on_trace_ready=self._write,
            profile_memory=True,
        )
        self._profiler.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self._profiler is not None:
            self._profiler.step()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        for handle in self._ranges:
            handle.remove()
        self._ranges = []
        if self._profiler is not None:
            self._profiler.stop()
            self._profiler = None

    def _write(self, recorded: profile) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        recorded.export_chrome_trace(str(self.folder / TRACE_FILE))
        (self.folder / SUMMARY_FILE).write_text(profile_page(recorded, self.steps), encoding="utf-8")


def _mark(module: nn.Module, name: str) -> list[RemovableHandle]:
    """Make the forward passes of a module ranges of the trace."""
    open_ranges: list[AbstractContextManager[Any]] = []  # a stack: a module may call itself

    def begin(*_: object) -> None:
        open_ranges.append(record_function(name))
        open_ranges[-1].__enter__()

    def end(*_: object) -> None:
        open_ranges.pop().__exit__(None, None, None)

    return [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]


def profile_page(recorded: profile, steps: int) -> str:
    """A page of Markdown about what was recorded. steps: how many micro-batches that were."""
    events = recorded.key_averages()
    # ranges of the profiler's own steps and of ours contain other events and are no operations
    operations = [
        e for e in events if e.key not in MARKED_PARTS and not e.key.startswith(("ProfilerStep", "Optimizer"))
    ]
    busy = sum(_own_time(e) for e in operations)  # microseconds
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    lines = [
        f"# {steps} micro-batches on {device}, torch {torch.__version__}",
        "",
        f"{busy / steps / 1000:.1f} ms of operations a micro-batch. The trace beside this page opens in "
        "chrome://tracing or ui.perfetto.dev.",
        "",
        "| forward pass of | ms a micro-batch | share |",
        "|---|--:|--:|",
    ]
    for event in events:
        if event.key in MARKED_PARTS:
            time = event.device_time_total if torch.cuda.is_available() else event.cpu_time_total
            lines.append(f"| {event.key} | {time / steps / 1000:.1f} | {time / busy:.0%} |")
    lines += ["", "| operation | calls | ms a micro-batch | share |", "|---|--:|--:|--:|"]
    for event in sorted(operations, key=_own_time, reverse=True)[:LISTED_OPERATIONS]:
        time = _own_time(event)
        lines.append(f"| {event.key} | {event.count / steps:.0f} | {time / steps / 1000:.1f} | {time / busy:.0%} |")
    return "\n".join(lines) + "\n"


def _own_time(event: FunctionEventAvg) -> float:
    """Microseconds of an operation without those that it calls, on the device that does the work."""
    return float(event.self_device_time_total if torch.cuda.is_available() else event.self_cpu_time_total)
