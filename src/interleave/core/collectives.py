"""What several processes do together: the only place that calls torch.distributed by itself."""

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(days=30)
"""How long ranks wait for the slowest: they meet only when all items of an evaluation are asked."""


def init_process_group() -> None:
    """Join the other processes that torchrun has started, if it has. Each has a GPU of its own."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("gloo", timeout=PATIENCE)


def destroy_process_group() -> None:
    """Undo ``init_process_group``; without a process group it does nothing."""
    if dist.is_initialized():
        dist.destroy_process_group()


def global_rank() -> int:
    """The number of this process among all; 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes there are; 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Wait until every rank is here."""
    if dist.is_initialized():
        dist.barrier()


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum over all ranks, as a new tensor of the same shape."""
    if dist.is_initialized():
        value = value.clone()
        dist.all_reduce(value)
    return value


def all_gather(value: Any) -> list[Any]:
    """Every rank's value, in rank order, on every rank; the value must be picklable."""
    values = [value] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values
