"""What several processes do together: the only place that calls torch.distributed by itself.

Every function works without a process group, too, as one rank of one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
Group = dist.ProcessGroup | None
"""Ranks that meet; None: this process alone, or by default."""
_group: Group = None
"""In which ranks meet; None: in that of all of them."""

COLLECTIVE_TIMEOUT = timedelta(days=30)
"""How long ranks wait for the slowest one. The ranks of an evaluation meet only once all of its items are asked, which
may take days; torch's default of 30 minutes would end the run."""


def init_process_group() -> None:
    """Join the other processes where torchrun started several, and select the GPU that torchrun gave this one.

    Does nothing for a single process and where a process group exists already.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # gloo: what an evaluation exchanges lies on the CPU
        dist.init_process_group("gloo", timeout=COLLECTIVE_TIMEOUT)


def cpu_group() -> Group:
    """A new group of all ranks that meet on the CPU, for collectives beside those of a training, such as a thread's.

    None for a process without others. A collective, which each rank must call.
    """
    if not dist.is_initialized():
        return None
    group = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
    assert isinstance(group, dist.ProcessGroup)  # it is none for a rank that is left out, and all are in
    return group


@contextmanager
def patient() -> Iterator[None]:
    """Inside, ranks meet on the CPU and wait for the slowest as long as it takes, such as one with a larger share of an
    evaluation. A collective."""
    global _group
    _group = cpu_group()
    try:
        yield
    finally:
        _group = None


class LateBroadcast:
    """Tells every rank what rank 0 says, one call later: no call waits for a message that is under way.

    A collective to make, and a collective at each call.
    """

    def __init__(self) -> None:
        self._group = cpu_group()
        self._under_way: tuple[Tensor, dist.Work | None] | None = None

    def __call__(self, said: bool) -> bool:
        """Send what rank 0 says now; returns what it said at the call before, False at the first."""
        before = self.finish()
        word = torch.tensor(said)
        work = dist.broadcast(word, src=0, group=self._group, async_op=True) if self._group else None
        self._under_way = (word, work)
        return before

    def finish(self) -> bool:
        """What rank 0 said at the last call; afterwards nothing is under way."""
        if self._under_way is None:
            return False
        word, work = self._under_way
        self._under_way = None
        if work is not None:
            work.wait()
        return bool(word)


def destroy_process_group() -> None:
    """Leave the process group that ``init_process_group`` joined; does nothing without one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def global_rank() -> int:
    """The number of this process among all processes of all nodes, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes there are on all nodes together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Wait until every rank has called this."""
    if dist.is_initialized():
        dist.barrier(group=_group)


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum of ``value`` over all ranks, of the same shape, on every rank. The argument itself is not changed."""
    if dist.is_initialized():
        value = value.clone()  # all_reduce writes in place
        dist.all_reduce(value, group=_group)
    return value


def all_reduce_max(value: int, group: Group) -> int:
    """The greatest ``value`` of all ranks, on every rank. group: one of ``cpu_group``, as the number is there."""
    if group is None:
        return value
    greatest = torch.tensor(value)
    dist.all_reduce(greatest, dist.ReduceOp.MAX, group=group)
    return int(greatest)


def all_gather(value: T, group: Group = None) -> list[T]:
    """The ``value`` of each rank, in rank order, on every rank. It must be picklable.

    group: where to meet, by default where the other functions do.
    """
    values = [value] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(values, value, group=group or _group)
    return values
