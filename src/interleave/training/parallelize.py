"""Parallelism and activation checkpointing, applied to a finished model from outside, in this order: checkpoint, shard.

The only module that imports torch.distributed.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from ..core.collectives import all_gather
from ..core.files import replacing
from ..model.interleaved_model import InterleavedModel

TOWERS = ("vision_encoder", "llm")


def blocks(model: InterleavedModel) -> list[nn.Module]:
    """The repeated layers of both towers."""
    return [block for tower in TOWERS for block in getattr(model, tower).blocks()]


def checkpoint_activations(model: InterleavedModel, towers: Sequence[str]) -> None:
    """Keep only the inputs of every block of ``towers`` and compute the rest again in the backward pass."""
    chosen = {block for tower in towers for block in getattr(model, tower).blocks()}
    apply_activation_checkpointing(model, checkpoint_wrapper_fn=checkpoint_wrapper, check_fn=chosen.__contains__)


def shard(model: InterleavedModel, mesh: DeviceMesh, dtype: torch.dtype = torch.float32) -> None:
    """FSDP2: one unit per block; embeddings, head and projector share the root's.

    dtype: of the gathered parameters and of the computation; gradients are reduced in float32.
    """
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for block in blocks(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    for entrance in ("loss", "document_losses"):
        register_fsdp_forward_method(model, entrance)


class FSDP2Strategy(ModelParallelStrategy):
    """Lightning's strategy for FSDP2 over all devices; its own "auto" would split tensors within a node."""

    def setup_environment(self) -> None:
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Beside the one before, whose place it takes when every rank has written its part."""
        if not self._save_distributed_checkpoint:
            super().save_checkpoint(checkpoint, filepath, storage_options)
            return
        target = Path(self.broadcast(filepath))
        with ExitStack() as stack:
            part = stack.enter_context(replacing(target)) if self.is_global_zero else target
            super().save_checkpoint(checkpoint, self.broadcast(part), storage_options)
            self.barrier()
        self.barrier()


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Every rank has all weights of an FSDP2 model, so that each can run it by itself, without any collective inside.

    Entering is a collective that each rank must call. Afterwards the shards are as before. It takes the memory of the
    whole model on each device.
    """
    units = [module for module in model.modules() if isinstance(module, FSDPModule)]
    hooks = [(dict(unit._forward_pre_hooks), dict(unit._forward_hooks)) for unit in units]
    for unit in units:
        unit.unshard()
        unit._forward_pre_hooks.clear()  # they would note the order of these passes for the next backward one
        unit._forward_hooks.clear()
    try:
        yield
    finally:
        for unit, (before, after) in zip(units, hooks, strict=True):
            unit._forward_pre_hooks.update(before)
            unit._forward_hooks.update(after)
            unit.reshard()


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """All weights on the CPU, gathered from every rank: a collective that each rank must call; rank 0 gets the dict."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The 2-norm of all gradients together, of sharded ones over all ranks: then a collective. 0 without gradients."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm = get_total_norm(gradients)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def not_finite(model: nn.Module) -> list[str]:
    """Names of the weights in which a number is not finite on some rank, alike on every rank: a collective."""
    local = {n: p.to_local() if isinstance(p, DTensor) else p for n, p in model.named_parameters()}
    mine = [name for name, tensor in local.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    return sorted({name for names in all_gather(mine) for name in names})
