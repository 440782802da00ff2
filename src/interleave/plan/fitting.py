"""A step's memory for any number of tokens and views, from three rehearsals, and the largest sizes that fit."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..costs.memory import WeightPlacement, memory_by_term
from ..costs.rehearsal import Rehearsal, StepMemory, StepShape
from ..model.interleaved_model import InterleavedModel

FRAGMENTS = 0.05
"""Share of a device's memory that is left to what an allocator cannot use."""
STEP = 1024
"""``sequence_length`` is looked for in multiples of it, where rows are that long."""
MOST = 2**21
"""Where the search for a size ends."""


@dataclass(frozen=True)
class MemoryModel:
    """The memory of a device by term, for any shape near the one that was rehearsed.

    Each number of a rehearsal is a constant and a part that grows with the tokens and one that grows with the views:
    attention keeps no square, and blocks are all alike.

    model, placement: as in ``memory_by_term``.
    shape, base: of the first rehearsal. by_token, by_view: what it grows by.
    view_bytes, token_bytes: of a batch on the device. batches: that lie there at once. keeps_gradients: as there.
    """

    model: InterleavedModel
    placement: WeightPlacement
    shape: StepShape
    base: StepMemory
    by_token: StepMemory
    by_view: StepMemory
    view_bytes: int
    batches: int
    keeps_gradients: bool

    def step(self, shape: StepShape) -> StepMemory:
        """What a rehearsal of ``shape`` would say."""
        tokens = shape.rows * shape.length - self.shape.rows * self.shape.length
        return self.base + self.by_token.times(tokens) + self.by_view.times(shape.views - self.shape.views)

    def terms(self, shape: StepShape) -> dict[str, float]:
        """Bytes by term, at the worst moment."""
        batch = shape.views * self.view_bytes + 5 * 8 * shape.rows * shape.length  # five numbers a token, in int64
        return memory_by_term(self.model, self.placement, self.step(shape), self.batches * batch, self.keeps_gradients)

    def fits(self, shape: StepShape, memory: float) -> bool:
        """Whether all terms fit into so many bytes, less ``FRAGMENTS``."""
        return sum(self.terms(shape).values()) <= (1 - FRAGMENTS) * memory

    def longest(self, shape: StepShape, memory: float) -> int:
        """The largest ``sequence_length`` that fits, with as many views as ``shape`` has; 0 where none does."""
        unit = min(STEP, shape.length)
        return unit * _largest(lambda units: self.fits(replace(shape, length=units * unit), memory), MOST // unit)

    def most_views(self, shape: StepShape, memory: float) -> int:
        """The largest ``max_views`` that fits with rows as long as ``shape`` has; 0 where none does."""
        return _largest(lambda views: self.fits(replace(shape, views=views), memory), MOST)


def rehearsed(
    rehearsal: Rehearsal, placement: WeightPlacement, shape: StepShape, batches: int, keeps_gradients: bool
) -> MemoryModel:
    """Rehearse three steps: ``shape``, one of half its tokens, and one of half its views."""
    per_number = placement.gradient_bytes
    base = rehearsal.step(shape, per_number)
    shorter = rehearsal.step(replace(shape, length=shape.length // 2), per_number)
    fewer = rehearsal.step(replace(shape, views=max(1, shape.views // 2)), per_number)
    tokens = shape.rows * (shape.length - shape.length // 2)
    views = shape.views - max(1, shape.views // 2)
    return MemoryModel(
        model=rehearsal.model,
        placement=placement,
        shape=shape,
        base=base,
        by_token=_slope(base, shorter, tokens),
        by_view=_slope(base, fewer, views),
        view_bytes=3 * rehearsal.vision.size**2,
        batches=batches,
        keeps_gradients=keeps_gradients,
    )


def _slope(larger: StepMemory, smaller: StepMemory, units: int) -> StepMemory:
    """How much each number grows with a unit; 0 where both are the same size."""
    return (larger + smaller.times(-1)).times(1 / max(1, units))


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to ``most`` that fits, where every smaller one does, too; 0 where none does."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
