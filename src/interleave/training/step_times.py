"""Seconds of what a step consists of, by the host's clock."""

import time
from collections import defaultdict

import torch
from lightning.pytorch.profilers import Profiler

DATA = "data"
"""The action in which a step waits for its batch."""
PARTS_BY_ACTION = {
    "train_dataloader_next": DATA,
    "batch_to_device": "transfer",
    "training_step": "head",
    "backward": "backward",
    "optimizer_step": "optimizer",
}
"""Last words of Lightning's names of actions -> ours. The optimiser's action holds forward and backward passes, and a
training step those of its parts: what is left of either is the optimiser's own, and head and loss."""
OWNERS = ("[_TrainingEpochLoop]", "[Strategy]", "[LightningModule]")
"""First words of the actions that count; callbacks have actions of the same last words."""


class StepTimes(Profiler):
    """Adds up how long each action took, without those inside of it. Lightning tells it of every action.

    On a GPU the host only queues work, so that all but ``data`` mean little unless ``waits`` is set.

    waits: whether every action waits, before and after, until the device has done what was queued.
    seconds: by action, since training began.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits = False
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[tuple[str, float]] = []  # names of actions under way, each with its beginning

    def start(self, action_name: str) -> None:
        name = _own_name(action_name)
        if name:
            self.begin(name)

    def stop(self, action_name: str) -> None:
        name = _own_name(action_name)
        if name:
            self.end(name)

    def begin(self, name: str) -> None:
        """An action of this name begins, inside of the one that is under way."""
        self._open.append((name, self._now()))

    def end(self, name: str) -> None:
        """The action that began last ends. Where it has another name, an error has ended it, and nothing is counted."""
        if not self._open or self._open[-1][0] != name:
            return
        _, begun = self._open.pop()
        took = self._now() - begun
        self.seconds[name] += took
        if self._open:  # the one around it does not count it, too
            self.seconds[self._open[-1][0]] -= took

    def _now(self) -> float:
        if self.waits and torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


def _own_name(action: str) -> str | None:
    """Our name of an action of Lightning's, which has the form ``[Owner]Class.action``; None for all others."""
    owner, _, what = action.rpartition(".")
    return PARTS_BY_ACTION.get(what) if owner.startswith(OWNERS) else None
