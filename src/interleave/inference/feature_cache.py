"""What the vision side made of the last visuals, kept by their content."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor

from ..core.types import Visual
from ..model.interleaved_model import InterleavedModel

KEPT = 2**30
"""Bytes of features that are kept."""


class Features:
    """What the vision side made of the last visuals, by their content; at most ``limit`` bytes of it.

    Each visual is encoded by itself, so that its features never depend, not even in the last bit, on which others were
    new at the same time.
    """

    def __init__(self, model: InterleavedModel, limit: int = KEPT) -> None:
        self.model, self.limit, self.bytes = model, limit, 0
        self.kept: OrderedDict[str, Tensor] = OrderedDict()

    def of(self, visuals: Sequence[Visual]) -> list[Tensor]:
        """(n, D) for each."""
        return [self._of(visual) for visual in visuals]

    def _of(self, visual: Visual) -> Tensor:
        name = key(visual)
        if name not in self.kept:
            seen = self.model.encode_views(visual.pixel_values.to(self.model.mean.device))
            self.kept[name] = self.model.adapter(visual.kind).merge(seen, visual.meta)
            self.bytes += self.kept[name].nbytes
        self.kept.move_to_end(name)
        found = self.kept[name]
        while self.bytes > self.limit:
            self.bytes -= self.kept.popitem(last=False)[1].nbytes
        return found


def key(visual: Visual) -> str:
    """A hash of what a visual shows and how it is laid out."""
    said = f"{visual.kind} {visual.layout} {sorted(visual.meta.items())} {tuple(visual.pixel_values.shape)}"
    return hashlib.sha256(said.encode() + visual.pixel_values.contiguous().numpy().tobytes()).hexdigest()
