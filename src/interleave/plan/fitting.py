"""A step's memory for any number of tokens and views, from three rehearsals, and the largest sizes that fit."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..costs.memory import WeightPlacement, memory_by_term
from ..costs.rehearsal import Rehearsal, StepMemory, StepShape

FRAGMENTS = 0.05
"""Share of a device's memory that is left to what an allocator cannot use."""
STEP = 1024
"""``sequence_length`` is looked for in multiples of it, where rows are that long."""
MOST = 2**21
"""Where the search for a size ends."""
REFINED = 2
"""How often it is begun anew from a rehearsal of what was found."""


@dataclass(frozen=True)
class MemoryModel:
    """The memory of a device by term, for any shape near the one that was rehearsed.

    Each number of a rehearsal is a constant and a part that grows with the tokens and one that grows with the views:
    attention keeps no square, and blocks are all alike.

    rehearsal: of the model. placement: as in ``memory_by_term``.
    shape, base: of a rehearsed step. by_token, by_view: what it grows by.
    view_bytes, token_bytes: of a batch on the device. batches: that lie there at once. keeps_gradients: as there.
    """

    rehearsal: Rehearsal
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
        return memory_by_term(
            self.rehearsal.model, self.placement, self.step(shape), self.batches * batch, self.keeps_gradients
        )

    def fits(self, shape: StepShape, memory: float) -> bool:
        """Whether all terms fit into so many bytes, less ``FRAGMENTS``."""
        return sum(self.terms(shape).values()) <= (1 - FRAGMENTS) * memory

    def longest(self, shape: StepShape, memory: float) -> int:
        """The largest ``sequence_length`` that fits, with as many views as ``shape`` has; 0 where none does."""
        unit = min(STEP, shape.length)
        return unit * self._most(lambda units: replace(shape, length=units * unit), MOST // unit, memory)

    def most_views(self, shape: StepShape, memory: float) -> int:
        """The largest ``max_views`` that fits with rows as long as ``shape`` has; 0 where none does."""
        return self._most(lambda views: replace(shape, views=views), MOST, memory)

    def _most(self, sized: Callable[[int], StepShape], most: int, memory: float) -> int:
        """The largest size whose shape fits: found from here, and again from a rehearsal of what was found, since what
        a small step grows by says a large one's memory within some percent alone."""
        near = self
        for _ in range(REFINED):
            size = near._largest(sized, most, memory)
            if not size or near.shape == sized(size):
                return size
            near = near._rehearsed_at(sized(size))
        return near._largest(sized, most, memory)

    def _largest(self, sized: Callable[[int], StepShape], most: int, memory: float) -> int:
        return _largest(lambda size: self.fits(sized(size), memory), most)

    def _rehearsed_at(self, shape: StepShape) -> "MemoryModel":
        return replace(self, shape=shape, base=self.rehearsal.step(shape, self.placement.gradient_bytes))


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
        rehearsal=rehearsal,
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
