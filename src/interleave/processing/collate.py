"""Examples -> Batch: the only place where batches are made."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..core.types import IGNORE, Batch, BatchVisual, Example, Segments, Targets, VisionSpec, Visual


def collate(
    batch_rows: Sequence[Sequence[Example]],
    sequence_length: int,
    vision: VisionSpec,
    cursor: Mapping[str, object] | None = None,
) -> Batch:
    """Lay whole examples end to end into rows.

    batch_rows: the examples of each row; those of one row have at most ``sequence_length`` tokens together.
    sequence_length: tokens T of a row; what the examples leave of it is padding.
    vision: how large a view is, for the blank one of a batch without visuals.
    cursor: where the loader stands once the batch is used up.

    Returns a batch of (len(batch_rows), sequence_length) tokens; ``Batch`` says what is in it.
    """
    tokens = _TokenRows(len(batch_rows), sequence_length)
    visuals: list[Visual] = []
    reference: list[tuple[float, float]] = []
    for b, row in enumerate(batch_rows):
        tokens.fill(b, row)
        for example in row:
            visuals.extend(example.visuals)
            if example.documents:  # a preferred and a rejected reply
                reference.append(example.reference)
    tokens.mask_first_tokens()
    return Batch(
        input_ids=tokens.input_ids,
        labels=tokens.labels,
        position_ids=tokens.position_ids,
        document_ids=tokens.document_ids,
        segments=Segments.of(tokens.lengths),
        targets=Targets.of(tokens.labels, tokens.document_ids),
        document_lengths=tuple(tokens.document_lengths),
        visual_positions=torch.cat(tokens.visual_positions),  # (n,)
        pixel_values=_pixel_values(visuals, vision),
        visuals=tuple(BatchVisual(v.kind, len(v.pixel_values), v.meta) for v in visuals),
        pairs=torch.tensor(tokens.pairs, dtype=torch.long).view(-1, 2),  # (P, 2), also for P = 0
        reference=torch.tensor(reference, dtype=torch.float32).view(-1, 2).view(torch.int32),  # (P, 2) bits
        cursor=cursor or {},
    )


class _TokenRows:
    """The tensors of a batch that have a number for each token, all padding at first."""

    def __init__(self, num_rows: int, sequence_length: int) -> None:
        shape = (num_rows, sequence_length)  # (B, T)
        self.sequence_length = sequence_length
        self.input_ids = torch.zeros(shape, dtype=torch.long)
        self.labels = torch.full(shape, IGNORE)
        self.position_ids = torch.zeros(shape, dtype=torch.long)  # begin at 0 again in each document
        self.document_ids = torch.zeros(shape, dtype=torch.long)  # 0 is padding
        self.visual_positions = [torch.zeros(0, dtype=torch.long)]  # torch.cat needs one where nothing is shown
        self.pairs: list[tuple[int, int]] = []  # row and document of each preferred reply
        self.lengths: list[list[int]] = []  # of the documents of each row, and of its padding
        self.document_lengths: list[int] = []  # of all rows, without padding

    def fill(self, b: int, row: Sequence[Example]) -> None:
        """Write the examples of row ``b`` end to end from its beginning."""
        start, document = 0, 1  # of the next document
        lengths: list[int] = []
        for example in row:
            span = slice(start, start + len(example.input_ids))
            self.input_ids[b, span] = example.input_ids
            self.labels[b, span] = example.labels
            # from places in the example to places in the flattened (B * T) tokens
            self.visual_positions.append(example.visual_positions + b * self.sequence_length + start)
            if example.documents:
                self.pairs.append((b, document))
            for n in example.documents or (len(example.input_ids),):
                self.position_ids[b, start : start + n] = torch.arange(n)
                self.document_ids[b, start : start + n] = document
                lengths.append(n)
                start += n
                document += 1
        self.document_lengths += lengths
        if start < self.sequence_length:
            lengths.append(self.sequence_length - start)  # padding
        self.lengths.append(lengths)

    def mask_first_tokens(self) -> None:
        """Position p predicts the label of p + 1, and the last token of a document must not predict the first of the
        next one."""
        self.labels[:, 1:][self.position_ids[:, 1:] == 0] = IGNORE


def _pixel_values(visuals: Sequence[Visual], vision: VisionSpec) -> Tensor:
    """The views of all visuals, (V, 3, S, S) uint8; one blank view where there is none."""
    views = [visual.pixel_values for visual in visuals]
    if not views:
        views = [torch.zeros(1, 3, vision.size, vision.size, dtype=torch.uint8)]
    return torch.cat(views)


def join_pair(chosen: Example, rejected: Example) -> Example:
    """A preferred and a rejected reply as one example of two documents.

    As one example they always share a row, side by side, and are never torn into two batches.
    """
    offset = len(chosen.input_ids)
    rejected_spans = [(start + offset, end + offset) for start, end in rejected.spans]
    rejected_answers = [start + offset for start in rejected.answers]
    return Example(
        torch.cat([chosen.input_ids, rejected.input_ids]),
        torch.cat([chosen.labels, rejected.labels]),
        torch.cat([chosen.visual_positions, rejected.visual_positions + offset]),
        [*chosen.visuals, *rejected.visuals],
        chosen.name,
        documents=(offset, len(rejected.input_ids)),
        spans=(*chosen.spans, *rejected_spans),
        answers=(*chosen.answers, *rejected_answers),
        notes=chosen.notes,  # both replies follow the same prompt, so their notes are the same
    )


def one_per_row(examples: Sequence[Example], vision: VisionSpec) -> Batch:
    """A batch for generation: every prompt has a row to itself, as long as the longest prompt."""
    longest = max(len(example.input_ids) for example in examples)
    return collate([[example] for example in examples], longest, vision)
