"""The memory of a device in training, by term: of weights by arithmetic, of activations as they were rehearsed."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from ..model.interleaved_model import InterleavedModel
from .rehearsal import Moment, StepMemory

GIB = 2**30
"""Bytes of a GiB."""
MEMORY_TERMS = (
    "weights", "gradients", "optimizer", "gathered",
    "vision activations", "llm activations", "head and working", "batches",
)  # fmt: skip
"""What the memory of a device is made of; the last but one is the loss head, or blocks that are computed again."""


@dataclass(frozen=True)
class WeightPlacement:
    """How weights, and what belongs to each of their numbers, lie on the devices. Bytes are of a single number.

    shards: devices that share trained weights among them; 1 where each has all.
    frozen_shards: the same of frozen weights.
    weight_bytes: of a trained weight as it is kept.
    frozen_bytes: of a frozen weight as it is kept.
    gathered_bytes: of a weight in the precision of the computation, as it is gathered from its shards.
    state_bytes: of the optimiser's states.
    bucket_bytes: of DDP's buckets, in which gradients are summed over ranks.
    prefetch: units gathered ahead of the one that computes.
    """

    shards: int = 1
    frozen_shards: int = 1
    weight_bytes: float = 4.0
    frozen_bytes: float = 4.0
    gathered_bytes: float = 0.0
    state_bytes: float = 8.0
    bucket_bytes: float = 0.0
    prefetch: int = 1

    @property
    def gradient_bytes(self) -> float:
        """Of a gradient on one device, for each number of a trained weight."""
        return self.weight_bytes / self.shards


def numbers_in(parameters: Iterable[Tensor], trained: bool | None = None) -> int:
    """Numbers in parameters; of the trained or the frozen ones alone, unless ``trained`` is None."""
    return sum(p.numel() for p in parameters if trained is None or p.requires_grad == trained)


def memory_by_term(
    model: InterleavedModel, placement: WeightPlacement, step: StepMemory, batch_bytes: float, keeps_gradients: bool
) -> dict[str, float]:
    """Bytes of each of ``MEMORY_TERMS`` at the moment when their sum is largest.

    step: rehearsed with ``placement.gradient_bytes``. batch_bytes: of batches that lie on the device.
    keeps_gradients: whether gradients are there already when a backward pass begins, as in accumulation.

    The two moments that compete are the worst one of the forward pass, when the gradients of the step before are still
    there, and that of the backward pass.
    """
    trained, frozen = numbers_in(model.parameters(), True), numbers_in(model.parameters(), False)
    gradients = trained * placement.gradient_bytes
    fixed = {
        "weights": trained * placement.weight_bytes / placement.shards
        + frozen * placement.frozen_bytes / placement.frozen_shards,
        "optimizer": trained * placement.state_bytes / placement.shards,
        "gathered": gathered_at_once(model, placement) + trained * placement.bucket_bytes,
        "batches": batch_bytes,
    }
    backward_gradients = gradients if keeps_gradients else step.backward.gradients
    moments = [_moment(gradients, step.forward), _moment(backward_gradients, step.backward)]
    worst = max(moments, key=lambda moment: sum(moment.values()))
    terms = fixed | worst
    return {name: terms[name] for name in MEMORY_TERMS}


def _moment(gradients: float, live: Moment) -> dict[str, float]:
    """The terms of a moment; one worked out for a small shape from larger ones may be below 0, which none is."""
    return {
        "gradients": max(0.0, gradients),
        "vision activations": max(0.0, live.vision),
        "llm activations": max(0.0, live.llm),
        "head and working": max(0.0, live.working),
    }


def gathered_at_once(model: InterleavedModel, placement: WeightPlacement) -> float:
    """Bytes of weights that are gathered from their shards at once, and of the gradients of one unit before they are
    shared out: in the precision of the computation and in float32. 0 where nothing is sharded.
    """
    if placement.shards == 1 or not placement.gathered_bytes:
        return 0.0
    blocks = [numbers_in(block.parameters()) for block in (*model.vision_encoder.blocks(), *model.llm.blocks())]
    tables = [numbers_in(module.parameters()) for module in model.llm.modules() if isinstance(module, nn.Embedding)]
    largest = max(*blocks, *tables)
    return (max(blocks) * placement.prefetch + largest) * placement.gathered_bytes + largest * (
        placement.gathered_bytes + 4.0
    )
