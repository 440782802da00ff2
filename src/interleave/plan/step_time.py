"""How long a step takes: FLOPs, bytes and a device's rates, and which of them decides."""

from dataclasses import dataclass

from ..costs.memory import WeightPlacement, numbers_in
from ..costs.work import ModelWork, Quantities
from ..model.interleaved_model import InterleavedModel
from .device import Rates

ADAMW_BYTES = 28
"""That AdamW reads and writes of each float32 number: gradient, weight and two moments, the last three twice."""


@dataclass(frozen=True)
class StepTime:
    """Seconds of an optimiser step, on each device.

    products: matrix products, and the vision encoder's attention. attention: that of the language model.
    elementwise: all other operations, which memory bounds.
    optimizer: AdamW. network: collectives, which overlap with the three before. data: what the loader's processes need
    for the samples, which overlaps, too.
    """

    products: float
    attention: float
    elementwise: float
    optimizer: float
    network: float
    data: float

    @property
    def device(self) -> float:
        """What the device works."""
        return self.products + self.attention + self.elementwise + self.optimizer

    @property
    def seconds(self) -> float:
        """The longest of what overlaps."""
        return max(self.device, self.network, self.data)

    @property
    def bound(self) -> str:
        """What decides."""
        if self.seconds == self.data:
            return "data"
        if self.seconds == self.network:
            return "network"
        computed = self.products + self.attention
        return "compute" if computed >= self.elementwise + self.optimizer else "memory bandwidth"


@dataclass(frozen=True)
class StepLoad:
    """What an optimiser step asks of each device.

    quantities: of one micro-batch. moved: bytes of its elementwise operations. micro_batches: in a step.
    devices: in all. data_seconds: that one loader process works for a micro-batch. workers: such processes a device.
    """

    quantities: Quantities
    moved: float
    micro_batches: int
    devices: int
    data_seconds: float
    workers: int


def step_time(
    model: InterleavedModel, work: ModelWork, placement: WeightPlacement, load: StepLoad, rates: Rates
) -> StepTime:
    """Seconds from work, bytes and rates; docs/plan.md has the formula in words."""
    trained = numbers_in(model.parameters(), True)
    repeats = load.micro_batches
    done, attention = work.total(load.quantities).done, work.by_part(load.quantities)["attention"].done
    return StepTime(
        products=repeats * (done - attention) / rates.products,
        attention=repeats * attention / rates.attention,
        elementwise=repeats * load.moved / rates.bandwidth,
        optimizer=ADAMW_BYTES * trained / placement.shards / rates.bandwidth,
        network=_network_bytes(model, placement, load) / rates.network,
        data=repeats * load.data_seconds / max(1, load.workers),
    )


def _network_bytes(model: InterleavedModel, placement: WeightPlacement, load: StepLoad) -> float:
    """That one device sends in a step. Of a ring of n it sends (n - 1) / n of what is gathered or shared out.

    Sharded: weights are gathered in each forward and each backward pass, gradients are shared out once a step in
    float32, and replicas of the shards sum theirs. Not sharded: gradients are summed, which is both.
    """
    trained, frozen = numbers_in(model.parameters(), True), numbers_in(model.parameters(), False)
    if load.devices == 1:
        return 0.0
    if placement.shards == 1:
        return 2 * 4.0 * trained * (load.devices - 1) / load.devices
    ring = (placement.shards - 1) / placement.shards
    gathering = 2 * load.micro_batches * placement.gathered_bytes * trained * ring
    if placement.frozen_shards > 1:  # no gradient passes through a frozen tower below what learns: once a micro-batch
        gathering += load.micro_batches * placement.gathered_bytes * frozen * ring
    replicas = load.devices // placement.shards
    summing = 2 * 4.0 * trained / placement.shards * (replicas - 1) / replicas
    return gathering + 4.0 * trained * ring + summing
