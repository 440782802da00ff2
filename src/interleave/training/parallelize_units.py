"""What of a model is sharded, and which parameters are gathered together: the plan of FSDP2's units."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from ..core.errors import InputError
from ..interfaces.model_parts import LanguageModel, VisionEncoder
from ..model.interleaved_model import InterleavedModel


@dataclass(frozen=True)
class Sharding:
    """Options of ``trainer.strategy`` for FSDP2. Raises ValueError.

    frozen: ``shard`` keeps a share of a frozen tower on each device; a frozen vision encoder is gathered once a
        micro-batch, as a whole. ``replicate`` keeps all of it everywhere, in the precision of the computation, and
        never gathers it.
    replicate: groups of devices that each hold all shards (HSDP); 1 shards over all devices.
    offload: keep shards, gradients and optimiser states in host memory, where the optimiser then works.
    reshard_after_forward: free a block's gathered weights between its forward and its backward pass; a number shares
        them out over so many devices instead.
    prefetch: how many blocks ahead are gathered.
    sync_each_micro_batch: reduce gradients after each micro-batch of an accumulated step. Otherwise after the last one,
        and each device keeps all gradients, in float32, until then.
    """

    frozen: Literal["shard", "replicate"] = "shard"
    replicate: int = 1
    offload: bool = False
    reshard_after_forward: bool | int = True
    prefetch: int = 1
    sync_each_micro_batch: bool = False

    def __post_init__(self) -> None:
        for name in ("replicate", "prefetch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")

    def shards(self, world_size: int) -> int:
        """How many devices share the weights among them. Raises InputError."""
        shards, rest = divmod(world_size, self.replicate)
        if rest:
            raise InputError(
                f"trainer.strategy.replicate is {self.replicate}, which does not divide the {world_size} devices; "
                "choose a divisor, such as the number of nodes"
            )
        group = self.reshard_after_forward
        if not isinstance(group, bool) and (group < 2 or group >= shards or shards % group):
            raise InputError(
                f"trainer.strategy.reshard_after_forward is {group}; it must be true, false, or a divisor of the "
                f"{shards} devices that share the weights, between 1 and {shards}"
            )
        return shards

    def mesh(self, device_type: str, world_size: int) -> DeviceMesh:
        """The devices as ``shard`` takes them, a collective: (shard,), or (replicate, shard). Raises InputError."""
        shards = self.shards(world_size)
        if self.replicate == 1:
            return init_device_mesh(device_type, (shards,), mesh_dim_names=("shard",))
        return init_device_mesh(device_type, (self.replicate, shards), mesh_dim_names=("replicate", "shard"))


DEFAULT_SHARDING = Sharding()


def shard(
    model: InterleavedModel,
    mesh: DeviceMesh,
    dtype: torch.dtype = torch.float32,
    sharding: Sharding = DEFAULT_SHARDING,
) -> None:
    """Shard parameters over the ranks of ``mesh`` (FSDP2).

    Units are: every block, what else the vision encoder has, the projector, the adapters, the embedding, the head where
    it is a matrix. The model itself is the last one and stays gathered over a whole step; left to it are a norm and the
    newline, and a head that is more than a matrix.

    mesh: (shards,), or (replicas, shards) for HSDP. dtype: of the gathered parameters and of the computation; gradients
    are reduced in float32. Which parameters are frozen must be known before.
    """
    # of outputs that are views, which are wrong to write into; nothing here does
    warnings.filterwarnings("ignore", "FSDP2-wrapped module")
    plan = _Plan(mesh, dtype, sharding)
    ignored: set[nn.Parameter] = set()
    for tower in (model.vision_encoder, model.llm):
        if sharding.frozen == "replicate" and _is_frozen(tower.blocks()):
            ignored |= _keep_whole(tower, dtype)
    if not ignored.issuperset(model.vision_encoder.parameters()):
        _shard_vision(model.vision_encoder, plan)
    plan.unit(model.projector)
    plan.unit(model.modality, cast_inputs=False)  # what adapters know of a visual, such as depths, keeps its precision
    if not ignored.issuperset(_flat(model.llm.blocks())):
        _shard_llm(model.llm, plan)
    plan.unit(model, reshard=None, ignored=ignored)  # what no other unit holds
    # called in place of forward: they gather the root's parameters, too
    for method in ("loss", "document_losses", "filled"):
        register_fsdp_forward_method(model, method)


class _Plan(NamedTuple):
    """How every unit of a model is made."""

    mesh: DeviceMesh
    dtype: torch.dtype
    sharding: Sharding

    def unit(
        self,
        *modules: nn.Module,
        reshard: bool | int | None = True,
        cast_inputs: bool = True,
        ignored: set[nn.Parameter] | None = None,
    ) -> FSDPModule:
        """Gather and reduce the parameters of ``modules`` together, but for those of units within them."""
        units = fully_shard(
            list(modules),
            mesh=self.mesh,
            reshard_after_forward=reshard,
            mp_policy=MixedPrecisionPolicy(self.dtype, torch.float32, cast_forward_inputs=cast_inputs),
            offload_policy=self._offload(),
            ignored_params=ignored,
        )
        return units[0]  # all are the same unit

    def blocks(self, blocks: Sequence[nn.Module]) -> None:
        """A unit for each block."""
        units = [self.unit(block, reshard=self.sharding.reshard_after_forward) for block in blocks]
        depth = self.sharding.prefetch
        if depth == 1:  # FSDP2 gathers the next one by itself
            return
        for i, unit in enumerate(units):
            unit.set_modules_to_forward_prefetch(units[i + 1 : i + 1 + depth])
            unit.set_modules_to_backward_prefetch(units[max(0, i - depth) : i][::-1])

    def _offload(self) -> OffloadPolicy:
        if not self.sharding.offload:
            return OffloadPolicy()
        return CPUOffloadPolicy(pin_memory=self.mesh.device_type != "cpu")  # pinned memory needs a GPU


def _shard_vision(vision: VisionEncoder, plan: _Plan) -> None:
    """A unit for each block, and one for what is left; of a frozen encoder one for all."""
    if not _is_frozen([vision]):
        plan.blocks(vision.blocks())
    plan.unit(vision)


def _shard_llm(llm: LanguageModel, plan: _Plan) -> None:
    """A unit for each block, also of a frozen one: gradients pass through it, and as a whole it would be too large."""
    plan.blocks(llm.blocks())
    model = llm.transformers_model()
    if model is None:  # nobody knows where its embedding is
        return
    embedding, head, matrix = model.get_input_embeddings(), model.get_output_embeddings(), llm.head_matrix()
    tied = head is not None and head.get_parameter("weight") is embedding.get_parameter("weight")
    # a head that is more than a matrix is called once a chunk, and ranks differ in their numbers of chunks: no unit
    if not tied:
        plan.unit(embedding).set_unshard_in_backward(False)  # its gradient does not depend on its weights
        if matrix is not None:
            plan.unit(matrix, reshard=False)  # its backward pass follows at once
    elif matrix is not None:
        unit = plan.unit(embedding, matrix, reshard=False)
        embedding.register_forward_hook(lambda *_: _free(unit))
        llm.register_forward_hook(lambda _, __, hidden: _free_when_head_is_done(unit, hidden))


def _free(unit: FSDPModule) -> None:
    """Free the gathered parameters of a unit in the middle of its forward pass; its next call gathers them again."""
    unit.set_reshard_after_forward(True, recurse=False)  # otherwise ``reshard`` does nothing
    unit.reshard()
    unit.set_reshard_after_forward(False, recurse=False)


def _free_when_head_is_done(unit: FSDPModule, hidden: Tensor) -> None:
    """Free the gathered parameters of a unit in the backward pass, when the gradient of ``hidden`` is known."""
    if hidden.requires_grad:
        hidden.register_hook(lambda _: unit.reshard())


def _keep_whole(tower: nn.Module, dtype: torch.dtype) -> set[nn.Parameter]:
    """The frozen parameters of a tower, which take the ``dtype`` of the computation."""
    kept = {parameter for parameter in tower.parameters() if not parameter.requires_grad}
    for parameter in kept:
        if parameter.is_floating_point():  # 4-bit weights are bytes
            parameter.data = parameter.data.to(dtype)
    return kept


def _is_frozen(modules: Iterable[nn.Module]) -> bool:
    return not any(parameter.requires_grad for parameter in _flat(modules))


def _flat(modules: Iterable[nn.Module]) -> Iterator[nn.Parameter]:
    """The parameters of all ``modules``."""
    for module in modules:
        yield from module.parameters()
