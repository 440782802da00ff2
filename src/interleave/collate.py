"""Examples -> Batch: the only place where rows are packed and batches are made."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .filling import SLACK, filled
from .types import IGNORE, BadSample, Batch, Example, Shown, VisionSpec


class Packer:
    """The fullest rows that a bounded buffer allows, under two budgets: tokens a row and views a batch.

    The buffer holds ``lookahead`` batches' worth of examples. The oldest always goes into the next batch, so none waits
    for ever. Full rows make ranks equal in tokens; in views they are made alike by each aiming, without a word to the
    others, at what is usual: half the mean of all it has ``seen``, half that of the buffer, which must not pile up.
    Each example comes with its position in the shuffled order, which the loader needs for resuming, as it does
    ``seen``: tokens and views of all that was ever added.
    """

    def __init__(self, rows: int, length: int, views: int, lookahead: float = 1.5) -> None:
        self.rows, self.length, self.views, self.lookahead = rows, length, views, lookahead
        self.waiting: list[tuple[int, Example]] = []
        self.seen, self._held = (0, 0), (0, 0)

    def add(self, position: int, example: Example) -> None:
        """Raises BadSample where the example alone breaks a budget."""
        fits(example, self.length, self.views)
        self.waiting.append((position, example))
        self.seen = self.seen[0] + len(example.ids), self.seen[1] + example.views
        self._held = self._held[0] + len(example.ids), self._held[1] + example.views

    @property
    def full(self) -> bool:
        """Whether enough waits to choose from for one dense batch."""
        tokens, views = self._held
        return tokens >= self.lookahead * self.rows * self.length or views >= self.lookahead * self.views

    def take(self) -> list[list[Example]]:
        """Rows of the next batch, at most ``rows``; empty ones are left out."""
        usual = self.length * (self.seen[1] / max(self.seen[0], 1) + self._held[1] / self._held[0]) / 2
        due, used = min(usual, self.views / self.rows), 0
        rows: list[list[Example]] = []
        for number in range(self.rows):
            row = self._row(number == 0, self.views - used, due * (number + 1) - used)
            used += sum(example.views for example in row)
            rows.append(row)
        return [row for row in rows if row]

    def _row(self, first: bool, views: int, due: float) -> list[Example]:
        """The next row, taken out of what waits. first: the oldest must be in it."""
        sizes = [(len(e.ids), e.views) for _, e in self.waiting]
        tokens, seen = sizes[0] if first else (0, 0)
        chosen = filled(sizes[first:], self.length - tokens, views - seen, due - seen, int(SLACK * self.length))
        taken = {0, *(i + 1 for i in chosen)} if first else set(chosen)
        row = [self.waiting[i][1] for i in sorted(taken)]
        self.waiting = [w for i, w in enumerate(self.waiting) if i not in taken]
        self._held = self._held[0] - sum(len(e.ids) for e in row), self._held[1] - sum(e.views for e in row)
        return row


def fits(example: Example, length: int, views: int) -> None:
    """Raises BadSample where an example is longer than a row or has more views than a batch."""
    if len(example.ids) > length:
        raise BadSample(
            "over-length",
            f"{example.name}: an example of {len(example.ids)} tokens does not fit into rows of {length}; "
            f"{len(example.slots)} of them are visual. Raise data.length, or show fewer frames or tiles.",
        )
    if example.views > views:
        raise BadSample(
            "too many views",
            f"{example.name}: an example of {example.views} views does not fit into batches of {views}. "
            "Raise data.views, or show fewer frames or tiles.",
        )


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
            span = slice(start, start + len(example.ids))
            ids[b, span], labels[b, span] = example.ids, example.labels
            slots.append(example.slots + b * length + start)
            pairs += [(b, number)] if example.documents else []
            for n in example.documents or (len(example.ids),):
                positions[b, start : start + n], document[b, start : start + n] = torch.arange(n), number
                start, number = start + n, number + 1
    labels[:, 1:][positions[:, 1:] == 0] = IGNORE  # the first token of a document is nobody's next token
    visuals = [v for row in rows for example in row for v in example.visuals]
    views = [v.pixels for v in visuals] or [torch.zeros(1, 3, vision.size, vision.size, dtype=torch.uint8)]
    shown = tuple(Shown(v.kind, len(v.pixels), v.meta) for v in visuals)
    preferred = torch.tensor(pairs, dtype=torch.long).view(-1, 2)
    reference = tuple(example.reference for row in rows for example in row if example.documents)
    return Batch(
        ids, labels, positions, document, torch.cat(slots), torch.cat(views), shown, preferred, reference, cursor or {}
    )  # fmt: skip


def pair(chosen: Example, rejected: Example) -> Example:
    """Two replies to one prompt as one unit: they go into one row, side by side, and never into two batches."""
    n = len(chosen.ids)
    return Example(
        torch.cat([chosen.ids, rejected.ids]),
        torch.cat([chosen.labels, rejected.labels]),
        torch.cat([chosen.slots, rejected.slots + n]),
        [*chosen.visuals, *rejected.visuals],
        chosen.name,
        documents=(n, len(rejected.ids)),
        spans=(*chosen.spans, *((start + n, end + n) for start, end in rejected.spans)),
        answers=(*chosen.answers, *(start + n for start in rejected.answers)),
        notes=chosen.notes,
    )


def one_per_row(examples: Sequence[Example], vision: VisionSpec) -> Batch:
    """A batch for generation: every prompt has a row to itself."""
    return collate([[e] for e in examples], max(len(e.ids) for e in examples), vision)
