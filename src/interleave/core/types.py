"""The nouns of the pipeline that hold tensors, in the order in which data meets them: Visual -> Example -> Batch.

Shapes: B rows of T tokens, V views of S x S pixels, n features.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch
from torch import Tensor

from .sample import Note

IGNORE = -100
"""The label of a token that nothing is learned from; cross_entropy leaves out this index by default."""

NEWLINE = "<newline>"
"""The learned separator, where an adapter puts it into a layout. The tokenizer writes it as ``newline_id`` into
``input_ids``, and the language model's ``embed`` puts its ``newline`` parameter there."""


@dataclass(frozen=True)
class VisionSpec:
    """What a modality adapter must know of the vision side. It holds no weights, so it travels to loader workers.

    size: the side S of a view, in pixels.
    grid: features a side of a view after the projector, row by row.
    mean, std: of the red, green and blue channel, for pixels in 0..1.
    prefix: features of a view before those of its grid, such as one for a class token.
    """

    size: int
    grid: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    prefix: int = 0

    @property
    def tokens(self) -> int:
        """Features of a whole view."""
        return self.prefix + self.grid**2  # such as 1 + 24 * 24 with a class token


@dataclass(frozen=True)
class Visual:
    """A piece of media ready for the model.

    kind: name of the modality that made it and will merge its features.
    pixel_values: (V, 3, S, S) uint8: one view for an image, V for the frames of a video or the tiles of a big picture.
    layout: what stands for it in the text, in order: a string is text, a number is that many features.
    meta: what the adapter's ``merge`` needs to know: plain numbers, strings and lists of these, and tensors, which
        travel to the device with their batch. What ``merge`` computes with on the device should be a tensor: made from
        plain numbers there, it would make every step wait.
    """

    kind: str
    pixel_values: Tensor  # (V, 3, S, S)
    layout: Sequence[str | int]
    meta: Mapping[str, object] = field(default_factory=dict)

    def described(self) -> tuple[str, Sequence[str | int], list[tuple[str, object]]]:
        """Kind, layout and meta as plain values: all that tells visuals apart besides their pixels."""
        meta: list[tuple[str, object]] = []
        for name, value in sorted(self.meta.items()):
            meta.append((name, value.tolist() if isinstance(value, Tensor) else value))
        return self.kind, self.layout, meta


@dataclass(frozen=True)
class Example:
    """A rendered sample, or a preferred and a rejected one after the other (``collate.join_pair``).

    input_ids: (T,) long.
    labels: (T,) long, equal to ``input_ids`` where a token is learned and IGNORE elsewhere; not shifted.
    visual_positions: (n,) long, where in ``input_ids`` the features of the visuals will stand.
    visuals: in the order in which their features stand.
    name: what errors call it.
    documents: the lengths of both replies' documents where it is a preference; empty else.
    reference: log-probabilities of the preferred and the rejected reply under the model that training began with.
    spans: for each visual [start, end) of all tokens that stand for it, with its titles and newlines.
    answers: where each message of the assistant begins.
    notes: what was repaired or shortened.
    """

    input_ids: Tensor  # (T,)
    labels: Tensor  # (T,)
    visual_positions: Tensor  # (n,)
    visuals: Sequence[Visual]
    name: str = ""
    documents: tuple[int, ...] = ()
    reference: tuple[float, float] = (0.0, 0.0)
    spans: tuple[tuple[int, int], ...] = ()
    answers: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def views(self) -> int:
        """The number of views of all visuals together."""
        return sum(len(visual.pixel_values) for visual in self.visuals)


class Segments(NamedTuple):
    """Where the documents of packed rows begin and end, for attention; worked out on the CPU when a batch is made.

    lengths: of the documents, row by row; padding counts as one; each row's lengths sum to T.
    offsets: (number of documents + 1,) int32 borders in the flattened (B * T) tokens.
    longest: the longest document.
    """

    lengths: Sequence[Sequence[int]]
    offsets: Tensor
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[Sequence[int]]) -> "Segments":
        """Segments of rows whose documents have these lengths."""
        flat = [length for row in lengths for length in row]
        offsets = torch.tensor([0, *flat]).cumsum(0).to(torch.int32)  # (documents + 1,)
        return cls(lengths, offsets, max(flat))


class Targets(NamedTuple):
    """The n supervised tokens of a batch, row by row, and the positions that predict them.

    positions: (n,) long, in the flattened (B * T) hidden states: always the position before the token.
    ids: (n,) long, the tokens.
    documents: (n,) long, ``row * columns + document``: the number of the token's document in the whole batch.
    columns: one more than the most documents of a row; document 0 is the padding.
    """

    positions: Tensor
    ids: Tensor
    documents: Tensor
    columns: int

    @classmethod
    def of(cls, labels: Tensor, document_ids: Tensor) -> "Targets":
        """From (B, T) labels and document numbers on the CPU. The first token of a row is left out: no position
        predicts it."""
        columns = int(document_ids.max()) + 1
        row, before = (labels[:, 1:] != IGNORE).nonzero(as_tuple=True)  # (n,) each
        documents = row * columns + document_ids[row, before + 1]
        return cls(row * labels.shape[1] + before, labels[row, before + 1], documents, columns)


class BatchVisual:
    """What a batch keeps of a Visual whose pixels have joined ``Batch.pixel_values``.

    No tuple and no dataclass, so that Lightning does not look inside and round numbers in ``meta`` to half precision.

    kind, meta: as in Visual.
    views: how many rows of ``pixel_values`` are its own.
    """

    def __init__(self, kind: str, views: int, meta: Mapping[str, object]) -> None:
        self.kind, self.views, self.meta = kind, views, meta

    def map_tensors(self, change: Callable[[Tensor], Tensor]) -> "BatchVisual":
        """The same with ``change`` done to the tensors in ``meta``."""
        meta = {name: change(value) if isinstance(value, Tensor) else value for name, value in self.meta.items()}
        return BatchVisual(self.kind, self.views, meta)


@dataclass  # not frozen: Lightning converts a batch to half precision field by field
class Batch:
    """Examples packed end to end into rows.

    input_ids: (B, T) long.
    labels: (B, T) long, IGNORE where nothing is learned; not shifted.
    position_ids: (B, T) long, from 0 in each document.
    document_ids: (B, T) long, 0 on padding, else the number of the document in its row, from 1.
    segments: the same documents as attention needs them.
    targets: what the loss needs of ``labels``.
    document_lengths: tokens of every document, row by row, without padding.
    visual_positions: (n,) long, indices into the flattened (B * T) tokens, row by row.
    pixel_values: (V, 3, S, S) uint8, the views of all visuals in the order of ``visual_positions``. At least one view,
        a blank one if need be: every rank must run the vision encoder, or FSDP's collectives would not meet.
    visuals: whose views they are, in the same order; a blank view is nobody's.
    pairs: (P, 2) long, row and document of each preferred reply; the rejected reply is the document after it.
    reference: (P, 2) int32, the bits of float32 numbers: for each pair the log-probabilities of both replies under the
        model that training began with. As bits no conversion of the batch to half precision rounds them.
    cursor: where the loader stands once this batch is used up; it goes into the checkpoint.

    Whatever a step must know of sizes is a plain number here: reading it from a tensor would make the host wait for the
    device.
    """

    input_ids: Tensor  # (B, T)
    labels: Tensor  # (B, T)
    position_ids: Tensor  # (B, T)
    document_ids: Tensor  # (B, T)
    segments: Segments
    targets: Targets
    document_lengths: tuple[int, ...]
    visual_positions: Tensor  # (n,)
    pixel_values: Tensor  # (V, 3, S, S)
    visuals: tuple[BatchVisual, ...]
    pairs: Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.long))  # (P, 2)
    reference: Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.int32))  # (P, 2)
    cursor: Mapping[str, object] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        """How many tokens are no padding."""
        return sum(self.document_lengths)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch with all tensors on ``device``."""
        return self._map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory, from which copies to a GPU can overlap with its work."""
        return self._map_tensors(torch.Tensor.pin_memory)

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Keep the memory of all tensors until ``stream``, which uses them, has come so far."""

        def record(tensor: Tensor) -> Tensor:
            tensor.record_stream(stream)
            return tensor

        self._map_tensors(record)

    def _map_tensors(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed = copy.copy(self)  # shallow: what is no tensor is shared
        for batch_field in fields(self):
            setattr(changed, batch_field.name, _mapped(getattr(self, batch_field.name), change))
        return changed


def _mapped(value: object, change: Callable[[Tensor], Tensor]) -> object:
    """A field of a batch with ``change`` done to its tensors."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Segments):
        return value._replace(offsets=change(value.offsets))
    if isinstance(value, Targets):
        return Targets(change(value.positions), change(value.ids), change(value.documents), value.columns)
    if isinstance(value, tuple):
        return tuple(_mapped(part, change) for part in value)
    return value.map_tensors(change) if isinstance(value, BatchVisual) else value
