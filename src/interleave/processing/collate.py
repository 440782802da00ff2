"""Examples -> Batch: the only place where rows are packed and batches are made."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..core.types import IGNORE, Batch, Example, Shown, VisionSpec


def collate(
    rows: Sequence[Sequence[Example]], length: int, vision: VisionSpec, cursor: Mapping[str, Any] | None = None
) -> Batch:
    """Rows of whole examples, each at most ``length`` tokens, -> one batch of (len(rows), length)."""
    shape = (len(rows), length)
    ids, positions, document = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    labels = torch.full(shape, IGNORE)
    slots = [torch.zeros(0, dtype=torch.long)]
    pairs: list[tuple[int, int]] = []
    for b, row in enumerate(rows):
        start, number = 0, 1
        for example in row:
            span = slice(start, start + len(example.input_ids))
            ids[b, span], labels[b, span] = example.input_ids, example.labels
            slots.append(example.visual_positions + b * length + start)
            pairs += [(b, number)] if example.documents else []
            for n in example.documents or (len(example.input_ids),):
                positions[b, start : start + n], document[b, start : start + n] = torch.arange(n), number
                start, number = start + n, number + 1
    labels[:, 1:][positions[:, 1:] == 0] = IGNORE  # the first token of a document is nobody's next token
    visuals = [v for row in rows for example in row for v in example.visuals]
    views = [v.pixel_values for v in visuals] or [torch.zeros(1, 3, vision.size, vision.size, dtype=torch.uint8)]
    shown = tuple(Shown(v.kind, len(v.pixel_values), v.meta) for v in visuals)
    preferred = torch.tensor(pairs, dtype=torch.long).view(-1, 2)
    reference = tuple(example.reference for row in rows for example in row if example.documents)
    return Batch(
        ids, labels, positions, document, torch.cat(slots), torch.cat(views), shown, preferred, reference, cursor or {}
    )  # fmt: skip


def pair(chosen: Example, rejected: Example) -> Example:
    """Two replies to one prompt as one unit: they go into one row, side by side, and never into two batches."""
    n = len(chosen.input_ids)
    return Example(
        torch.cat([chosen.input_ids, rejected.input_ids]),
        torch.cat([chosen.labels, rejected.labels]),
        torch.cat([chosen.visual_positions, rejected.visual_positions + n]),
        [*chosen.visuals, *rejected.visuals],
        chosen.name,
        documents=(n, len(rejected.input_ids)),
        spans=(*chosen.spans, *((start + n, end + n) for start, end in rejected.spans)),
        answers=(*chosen.answers, *(start + n for start in rejected.answers)),
        notes=chosen.notes,
    )


def one_per_row(examples: Sequence[Example], vision: VisionSpec) -> Batch:
    """A batch for generation: every prompt has a row to itself."""
    return collate([[e] for e in examples], max(len(e.input_ids) for e in examples), vision)
