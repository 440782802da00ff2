"""The nouns of the pipeline that hold tensors, in the order data meets them: Visual -> Example -> Batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .sample import Note

IGNORE = -100
NEWLINE = "<newline>"
"""The learned separator, in an adapter's layout. ``ChatTokenizer.newline_id`` stands for it in ids, and ``embed`` knows
it."""


@dataclass(frozen=True)
class VisionSpec:
    """What a modality adapter must know of the vision side: no weights, so it travels to loader workers.

    size: the side S of a view in pixels. grid: tokens a side after the projector, row by row. prefix: tokens before
    them, such as a class token. mean, std: of the three channels, for pixels in 0..1.
    """

    size: int
    grid: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    prefix: int = 0

    @property
    def tokens(self) -> int:
        """Of a whole view."""
        return self.prefix + self.grid**2


@dataclass(frozen=True)
class Visual:
    """A piece of media ready for the model.

    pixel_values: (V, 3, S, S) uint8 -- V views: one for an image, frames of a video, tiles of a big picture.
    layout: what stands for it in the text, in order: a string is text, a number is that many features.
    meta: what ``merge`` needs to know, as plain numbers and strings.
    """

    kind: str
    pixel_values: Tensor
    layout: Sequence[str | int]
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """A rendered sample.

    input_ids, labels: (T,) long. visual_positions: (n,) where in input_ids features will stand. visuals: in that order.
    documents: lengths of the documents one after another, where it is a preferred reply and a rejected one.
    reference: log-probabilities of both under the model that training began with. spans: [start, end) of what stands
    for each visual, with its titles and newlines. answers: where each thing that the assistant says begins.
    """

    input_ids: Tensor
    labels: Tensor
    visual_positions: Tensor
    visuals: Sequence[Visual]
    name: str = ""
    documents: tuple[int, ...] = ()
    reference: tuple[float, float] = (0.0, 0.0)
    spans: tuple[tuple[int, int], ...] = ()
    answers: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def views(self) -> int:
        return sum(len(v.pixel_values) for v in self.visuals)


class Shown(NamedTuple):
    """What is left of a Visual once its pixels have joined the batch."""

    kind: str
    views: int
    meta: Mapping[str, Any]


@dataclass  # not frozen: Lightning converts a batch to half precision field by field
class Batch:
    """Examples packed end to end into rows.

    input_ids, labels, position_ids, document_ids: (B, T). ``document_ids`` is 0 on padding, else counts examples in the
    row. visual_positions: (n,) indices into the flattened (B * T) row-major tokens. pixel_values: (sum of V, 3, S, S)
    uint8, in the order of ``visual_positions``. At least one view, a blank if need be: every rank must run the vision
    tower, or FSDP's collectives would not meet. pairs: (P, 2) row and document of each preferred reply; the rejected
    one is the document after it. reference: of both, as numbers that no precision of a run touches. cursor: where the
    loader stands once this batch is used up; it goes into the checkpoint.
    """

    input_ids: Tensor
    labels: Tensor
    position_ids: Tensor
    document_ids: Tensor
    visual_positions: Tensor
    pixel_values: Tensor
    shown: tuple[Shown, ...]
    pairs: Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.long))
    reference: tuple[tuple[float, float], ...] = ()
    cursor: Mapping[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        return self._each(torch.Tensor.pin_memory)

    def _each(self, change: Any) -> "Batch":
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: change(v) for k, v in tensors.items() if isinstance(v, Tensor)})
