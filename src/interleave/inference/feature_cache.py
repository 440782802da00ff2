"""Features of the last visuals, kept by the visuals' content, so that nothing is encoded twice."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor

from ..core.types import Visual
from ..model.interleaved_model import InterleavedModel

MAX_CACHED_BYTES = 2**30
"""Bytes of features that a cache holds by default: 1 GiB."""


class FeatureCache:
    """Encodes visuals and keeps their features; the least recently used ones go first.

    Each visual is encoded by itself, not in a batch with others: its features never depend, not even in the last bit,
    on which other visuals were new at the same time.
    """

    def __init__(self, model: InterleavedModel, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self.model, self.max_bytes = model, max_bytes
        self.num_bytes = 0
        self._features: OrderedDict[str, Tensor] = OrderedDict()  # by ``visual_key``, the last used at the end

    def encode(self, visuals: Sequence[Visual]) -> list[Tensor]:
        """Merged features (n, D) of each visual, n being what its layout promises; on the model's device."""
        return [self._encode(visual) for visual in visuals]

    def _encode(self, visual: Visual) -> Tensor:
        key = visual_key(visual)
        if key not in self._features:
            views = self.model.encode_views(visual.pixel_values.to(self.model.mean.device))  # (V, P, D)
            merged = self.model.adapter(visual.kind).merge(views, visual.meta)  # (n, D)
            self._features[key] = merged
            self.num_bytes += merged.nbytes
        self._features.move_to_end(key)
        features = self._features[key]  # taken before the loop: one larger than the cache is not kept, but returned
        while self.num_bytes > self.max_bytes:
            _, oldest = self._features.popitem(last=False)
            self.num_bytes -= oldest.nbytes
        return features


def visual_key(visual: Visual) -> str:
    """A SHA-256 of all that a visual's features depend on besides the model: kind, layout, meta and pixels."""
    description = f"{visual.described()} {tuple(visual.pixel_values.shape)}"
    pixels = visual.pixel_values.contiguous().numpy().tobytes()
    return hashlib.sha256(description.encode() + pixels).hexdigest()
