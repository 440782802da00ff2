"""Which examples go into the next batch, under its budgets of tokens and views."""

from ..core.types import Example
from ..processing.over_length import fits
from .row_filling import SLACK, filled


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
        self.seen = self.seen[0] + len(example.input_ids), self.seen[1] + example.views
        self._held = self._held[0] + len(example.input_ids), self._held[1] + example.views

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
        sizes = [(len(e.input_ids), e.views) for _, e in self.waiting]
        tokens, seen = sizes[0] if first else (0, 0)
        chosen = filled(sizes[first:], self.length - tokens, views - seen, due - seen, int(SLACK * self.length))
        taken = {0, *(i + 1 for i in chosen)} if first else set(chosen)
        row = [self.waiting[i][1] for i in sorted(taken)]
        self.waiting = [w for i, w in enumerate(self.waiting) if i not in taken]
        self._held = self._held[0] - sum(len(e.input_ids) for e in row), self._held[1] - sum(e.views for e in row)
        return row
