"""The weights of a sharded model: each rank reads its own shards from the files, to where the model trains."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from ..checkpoints import StoredTensors, put, tie, tied_names, unwrapped
from ..interfaces.stored_weights import StoredTensor


def fill_shards(model: nn.Module, places: Mapping[str, StoredTensor] | None, device: torch.device) -> None:
    """Give memory on ``device`` to every parameter that is still on the meta device, and read what belongs there.

    A rank reads no more of a file than its shards, one after another, and has no other copy of them.

    places: where each of these parameters lies, by the name that it has in a model without adapters and activation
        checkpointing. None leaves them as they are in memory, for a checkpoint of the run to fill.
    """
    stored, owners = StoredTensors(), tied_names(model)
    for name, parameter in list(model.named_parameters()):
        if not parameter.is_meta:
            continue
        shape, region = _own_region(parameter)
        shard = torch.empty(shape, dtype=parameter.dtype, device=device)
        if places is not None:
            shard.copy_(stored.read(places[plain_name(name)], region))  # also to another type, without a copy between
        put(model, name, _in_place_of(parameter, shard))
    tie(model, owners)
    for name, buffer in list(model.named_buffers()):
        if places is not None and plain_name(name) in places:  # most buffers are computed
            buffer.copy_(stored.read(places[plain_name(name)]))


def plain_name(name: str) -> str:
    """The name of a parameter without what activation checkpointing and adapters write into it."""
    return unwrapped(name).replace(".base_layer.", ".")


def _own_region(parameter: Tensor) -> tuple[tuple[int, ...], tuple[slice, ...]]:
    """The shape of what this rank holds of a parameter, and which part of it this is; () for all of it."""
    if not isinstance(parameter, DTensor):
        return tuple(parameter.shape), ()
    shape, offsets = compute_local_shape_and_global_offset(parameter.shape, parameter.device_mesh, parameter.placements)
    region = tuple(slice(offset, offset + size) for offset, size in zip(offsets, shape, strict=True))
    return tuple(shape), region


def _in_place_of(parameter: Tensor, shard: Tensor) -> Tensor:
    """``shard`` itself, or where the parameter is sharded the distributed tensor of all ranks' shards."""
    if not isinstance(parameter, DTensor):
        return shard
    return DTensor.from_local(
        shard, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
    )


def reshard(model: nn.Module) -> None:
    """Keep no more than this rank's shards of an FSDP2 model; after a forward pass its root still has all it gathered,
    and an optimiser that is made then would take that for the parameters."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
