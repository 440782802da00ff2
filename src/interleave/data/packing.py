"""Which examples go into the next batch, under its budgets of tokens and views."""

from ..core.types import Example
from ..processing.over_length import check_fits
from .budget import NO_LOAD, Load, load_of
from .row_filling import SLACK, filled


class Packer:
    """Makes rows as full as the examples that wait allow, under two budgets: tokens a row and views a batch.

    The oldest example always goes into the next batch, so none waits for ever. Full rows make ranks equal in tokens.
    In views they are made alike without communication, by each rank aiming at the usual number of views a token: the
    mean of all that it has ``seen``, and the mean of what waits, so that visual examples do not pile up there.

    waiting: (place in the mixture's order, example) of all that wait, the oldest first; the loader needs the places to
        resume a run.
    seen: tokens and views of everything that was ever added; part of the loader's cursor, too.
    """

    def __init__(self, batch_size: int, sequence_length: int, max_views: int, lookahead: float = 1.5) -> None:
        """batch_size: rows of a batch.
        sequence_length: tokens of a row.
        max_views: views of a batch.
        lookahead: how many batches' worth of examples make the packer ``full``.
        """
        self.batch_size = batch_size
        self.sequence_length = sequence_length
        self.max_views = max_views
        self.lookahead = lookahead
        # waiting and _held always change together
        self.waiting: list[tuple[int, Example]] = []
        self.seen = NO_LOAD
        self._held = NO_LOAD  # what waits, in sum

    def add(self, place: int, example: Example) -> None:
        """Let an example wait. Raises BadSample where it alone is above one of the budgets."""
        check_fits(example, self.sequence_length, self.max_views)
        self.waiting.append((place, example))
        self.seen = self.seen + load_of(example)
        self._held = self._held + load_of(example)

    @property
    def full(self) -> bool:
        """Whether enough waits, in tokens or in views, to choose a full batch from."""
        enough_tokens = self._held.tokens >= self.lookahead * self.batch_size * self.sequence_length
        return enough_tokens or self._held.views >= self.lookahead * self.max_views

    def take(self) -> list[list[Example]]:
        """The next batch: at most ``batch_size`` rows, none of them empty. At least one example must wait."""
        # views of a row: its length times the mean of two rates, views a token of all seen and of what waits
        seen_rate = self.seen.views / max(self.seen.tokens, 1)
        usual = self.sequence_length * (seen_rate + self._held.views / self._held.tokens) / 2
        due = min(usual, self.max_views / self.batch_size)  # views of each row
        used = 0  # views of the rows so far
        rows: list[list[Example]] = []
        for number in range(self.batch_size):
            # what earlier rows have too many or too few of, this row makes up for
            row = self._row(number == 0, self.max_views - used, due * (number + 1) - used)
            used += sum(example.views for example in row)
            rows.append(row)
        return [row for row in rows if row]

    def _row(self, with_oldest: bool, max_views: int, due_views: float) -> list[Example]:
        """Choose the next row and take it out of what waits; with_oldest: the oldest example must be in it."""
        loads = [load_of(example) for _, example in self.waiting]
        space = Load(self.sequence_length, max_views)
        taken: set[int] = set()
        if with_oldest:
            taken.add(0)
            space = space - loads[0]
            due_views -= loads[0].views
        start = len(taken)  # the oldest is not up for choice
        chosen = filled(loads[start:], space, due_views, int(SLACK * self.sequence_length))
        taken.update(start + i for i in chosen)
        # in the order in which they came
        row = [self.waiting[i][1] for i in sorted(taken)]
        self.waiting = [entry for i, entry in enumerate(self.waiting) if i not in taken]
        self._held = self._held - sum(map(load_of, row), NO_LOAD)
        return row
