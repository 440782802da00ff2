"""Contracts of what asks a model, and of what grades its replies."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from ..core.sample import Sample


class Scored(NamedTuple):
    """An item of a task that was asked and scored."""

    record: Mapping[str, Any]
    reply: str
    scores: Mapping[str, float]


class Task(ABC):
    """Questions with a score."""

    version: str = "1"
    """Changes with the prompt, the items or the metric: numbers of two versions are not to be compared."""
    generation: Mapping[str, Any] = {"max_new_tokens": 64}
    """How replies are made, in the terms of Transformers' ``generate``."""
    best: Mapping[str, float] = {}
    """The most that a metric can be, where that is not 1."""
    expected: int | None = None
    """How many items there should be, where that is known."""

    @abstractmethod
    def records(self) -> Sequence[Mapping[str, Any]]:
        """The items, as the files hold them."""

    @abstractmethod
    def sample(self, record: Mapping[str, Any]) -> Sample:
        """What is asked: a conversation that ends before the assistant's reply. Raises BadSample."""

    @abstractmethod
    def answer(self, record: Mapping[str, Any]) -> str:
        """The truth."""

    @abstractmethod
    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        """Metrics of one reply; the first is the one that tables show."""

    def after(self, record: Mapping[str, Any]) -> int | None:
        """The number of the item whose reply the question goes on from; None where it stands alone."""
        return None

    def continued(self, record: Mapping[str, Any], replies: Sequence[str]) -> Mapping[str, Any]:
        """The record as it is asked after what the model said to the items before it, the first of them first."""
        return record

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Metrics of some items together: the mean of each metric, where a task does not say otherwise."""
        return {metric: fmean(item.scores[metric] for item in scored) for metric in scored[0].scores}

    def group(self, record: Mapping[str, Any]) -> str:
        """Which row of the table it counts for; ``a/b`` counts for row ``a``, too."""
        return "all"

    def condition(self, record: Mapping[str, Any]) -> str:
        """Which column of the table it counts for: how the item was changed before it was asked."""
        return "as it is"

    def chance(self, record: Mapping[str, Any]) -> float | None:
        """What a guess scores, where that is known."""
        return None

    def unit(self, record: Mapping[str, Any]) -> str | None:
        """What is drawn as a whole for the interval of a total of its own, such as the questions about one picture;
        None where each item stands for itself."""
        return None

    def released(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Fields of the item's line in a result file of the benchmark's released form, where there is one."""
        return None
