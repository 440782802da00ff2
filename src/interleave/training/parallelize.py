"""Parallelism and activation checkpointing, applied to a finished model from outside: checkpoint, compile, then shard.

``parallelize*.py`` and ``core/collectives.py`` are the only modules that import torch.distributed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from ..core.collectives import all_gather
from ..model.interleaved_model import InterleavedModel
from .parallelize_units import DEFAULT_SHARDING, Sharding, shard
from .recompute import selective_contexts

CheckpointMode = Literal["full", "selective"]
"""How activations of a tower are checkpointed: all of a block is computed again, or not what is dear to compute."""
TOWERS = ("vision_encoder", "llm")
"""The parts of a model that consist of repeated layers."""


def blocks(model: InterleavedModel, towers: Sequence[str] = TOWERS) -> list[nn.Module]:
    """The repeated layers of the named towers, first to last."""
    found: list[nn.Module] = []
    for tower in towers:
        found += getattr(model, tower).blocks()
    return found


def checkpoint_activations(model: InterleavedModel, kept: Mapping[str, CheckpointMode]) -> None:
    """Keep of every block of the named towers only its inputs, and with ``selective`` what is dear to compute; the
    rest is computed again in the backward pass."""
    for tower, what in kept.items():
        options: dict[str, Any] = {"context_fn": selective_contexts} if what == "selective" else {}
        wrap = partial(checkpoint_wrapper, **options)
        chosen = set(blocks(model, (tower,)))  # modules are equal only to themselves
        apply_activation_checkpointing(model, checkpoint_wrapper_fn=wrap, check_fn=chosen.__contains__)


class FSDP2Strategy(ModelParallelStrategy):
    """Lightning's strategy for FSDP2 over all devices; its own "auto" would split tensors within a node."""

    def __init__(
        self,
        sharding: Sharding = DEFAULT_SHARDING,
        timeout: timedelta = timedelta(minutes=30),
    ) -> None:
        """timeout: how long a rank waits for the others in a collective."""
        super().__init__(timeout=timeout)
        self.sharding = sharding
        self._mesh: DeviceMesh | None = None
        self._sharded: FSDPModule | None = None

    def setup_environment(self) -> None:
        # the sizes of Lightning's own device mesh: all devices lie along its data-parallel axis
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        if self.sharding.offload and self.root_device.type == "cuda":
            self._process_group_backend = "cuda:nccl,cpu:gloo"  # gradients on the host are summed there
        super().setup_environment()
        self._mesh = self.sharding.mesh(self.root_device.type, self.world_size)

    @property
    def shard_device(self) -> torch.device:
        """Where this rank's shards lie."""
        return torch.device("cpu") if self.sharding.offload else self.root_device

    def shard(self, model: InterleavedModel, dtype: torch.dtype) -> None:
        """Shard the model as ``sharding`` says, computing in ``dtype``."""
        assert self._mesh is not None, "processes have not met yet"
        shard(model, self._mesh, dtype, self.sharding)
        assert isinstance(model, FSDPModule)
        self._sharded = model

    def model_to_device(self) -> None:
        """Move the model to this rank's device, but not the shards that ``offload`` keeps on the host."""
        assert self.model is not None
        if not self.sharding.offload:
            super().model_to_device()
            return
        for unit in self.model.modules():
            if isinstance(unit, FSDPModule):
                unit.reshard()  # what tried its weights may have left them gathered; the optimiser must see shards
        for tensor in [*self.model.parameters(), *self.model.buffers()]:
            if not isinstance(tensor, DTensor):
                tensor.data = tensor.data.to(self.root_device)
        self.model.__dict__["_device"] = self.root_device  # where Lightning's own ``to`` would say so

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Around each micro-batch of an accumulated step but the last: Lightning's own leaves FSDP2 alone."""
        assert self._sharded is not None
        each = self.sharding.sync_each_micro_batch  # then only the sums over replicas wait for the last one
        switch = self._sharded.set_requires_all_reduce if each else self._sharded.set_requires_gradient_sync
        switch(False)
        try:
            yield
        finally:
            switch(True)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Nothing: each rank writes its own shards (``checkpointing``), and Lightning would gather or copy them."""
        return {}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Nothing, as of the model."""
        return {}

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: object = None) -> None:
        """Write, on rank 0, all of a checkpoint but the tensors."""
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(checkpoint, filepath)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """All of a checkpoint but the tensors, which each rank reads into its shards (``checkpoint_files``)."""
        loaded: dict[str, Any] = self.checkpoint_io.load_checkpoint(checkpoint_path, weights_only=weights_only)
        return loaded


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Every rank has all weights of an FSDP2 model, so that each can run it by itself, without any collective inside.

    Entering is a collective that each rank must call. Afterwards the shards are as before. It takes the memory of the
    whole model on each device. A model that is not sharded stays as it is.
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
        for unit, (pre_hooks, post_hooks) in zip(units, hooks, strict=True):
            unit._forward_pre_hooks.update(pre_hooks)
            unit._forward_hooks.update(post_hooks)
            unit.reshard()


def whole(tensor: Tensor) -> Tensor:
    """A tensor gathered from all ranks, on its device: a collective where it is sharded, else the tensor itself."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The 2-norm of all gradients together, a scalar; 0 without gradients.

    Of sharded gradients it is the norm over all ranks, and a collective that each rank must call.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm = get_total_norm(gradients)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm  # of sharded gradients: the collective


def not_finite(model: nn.Module) -> list[str]:
    """Sorted names of the weights in which a number is not finite on some rank: a collective, alike on every rank."""
    own: list[str] = []
    for name, parameter in model.named_parameters():
        local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        if local.is_floating_point() and not local.isfinite().all():
            own.append(name)
    names: set[str] = set()
    for names_of_rank in all_gather(own):
        names.update(names_of_rank)
    return sorted(names)
