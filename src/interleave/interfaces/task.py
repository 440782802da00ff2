"""The contract of what asks a model and scores its replies."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from ..core.sample import Record, Sample


class Scored(NamedTuple):
    """An item of a task that was asked and scored.

    record: the item.
    reply: what the model said.
    scores: metrics of the reply by their names.
    """

    record: Record
    reply: str
    scores: Mapping[str, float]


class Task(ABC):
    """Questions with a score. Each item is a record; all methods below work on one item where they do not say else.

    A table of results has a row for each ``group`` and a column for each ``condition``.
    """

    version: str = "1"
    """Changes with the prompt, the items or the metric: numbers of two versions are not to be compared."""
    generation: Mapping[str, object] = {"max_new_tokens": 64}
    """How replies are made, in the terms of Transformers' ``generate``."""
    best: Mapping[str, float] = {}
    """The most that a metric can be, where that is not 1."""
    expected: int | None = None
    """How many items there should be, where that is known."""

    @abstractmethod
    def records(self) -> Sequence[Record]:
        """All items, as the files hold them."""

    @abstractmethod
    def sample(self, record: Record) -> Sample:
        """What the model is asked: a conversation that ends before the assistant's reply.

        Raises BadSample where the item cannot be used; it is then counted as unreadable.
        """

    @abstractmethod
    def answer(self, record: Record) -> str:
        """The right answer as text, which reports show; empty where there is none."""

    @abstractmethod
    def score(self, record: Record, reply: str) -> dict[str, float]:
        """Metrics of one reply by their names. The first one is the one that tables show."""

    def after(self, record: Record) -> int | None:
        """Which of ``records()`` this question goes on from, after the reply to it; None where it stands alone."""
        return None

    def continued(self, record: Record, replies: Sequence[str]) -> Record:
        """The item as it is asked after others, with what the model said to them written into it.

        replies: to all items before it in its conversation (``after``), in the order in which they were asked.
        """
        return record

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Metrics of several items together: the mean of each metric, where a task does not define them otherwise."""
        means: dict[str, float] = {}
        for metric in scored[0].scores:
            means[metric] = fmean(item.scores[metric] for item in scored)
        return means

    def group(self, record: Record) -> str:
        """Which row of the table the item counts for; ``a/b`` counts for row ``a``, too."""
        return "all"

    def condition(self, record: Record) -> str:
        """Which column of the table the item counts for: how it was changed before it was asked."""
        return "as it is"

    def chance(self, record: Record) -> float | None:
        """What a guess scores on average, where that is known."""
        return None

    def unit(self, record: Record) -> str | None:
        """A name that all items share which belong together, such as the questions about one picture.

        The bootstrap of a confidence interval draws such items as a whole. None where each item stands for itself.
        """
        return None

    def explains(self) -> Mapping[str, str]:
        """Name of a group or of a condition -> one sentence for a reader of the report who does not know the task."""
        return {}

    def released(self, record: Record) -> Mapping[str, object] | None:
        """Fields of the item's line in a result file of the benchmark's released form; None where there is no such
        form."""
        return None
