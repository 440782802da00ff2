"""The contracts of judges, and of tasks whose replies they grade."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.errors import InputError
from .task import Task

JudgeMessages = list[dict[str, str]]
"""A conversation with a judge: ``{"role": "system" or "user", "content": text}``."""


class JudgedTask(Task):
    """Questions whose replies another language model grades."""

    def together(
        self, asked: Sequence[tuple[Mapping[str, Any], str]]
    ) -> Sequence[tuple[Mapping[str, Any], str] | None]:
        """Records and replies -> what ``judge`` is called with for each of them, in their order.

        Where a reply is judged beside that to another item, its record gets that, too; None where the other is missing.
        """
        return asked

    @abstractmethod
    def judge(self, record: Mapping[str, Any], reply: str) -> JudgeMessages:
        """What the judge is asked about a reply."""

    @abstractmethod
    def judgement(self, text: str) -> dict[str, float] | None:
        """What the judge said -> metrics; None where it did not keep to the form."""

    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        """Raises InputError: only a judge knows."""
        raise InputError(f"{type(self).__name__} is graded by a judge; choose one with judge=openai or judge=local")


class Judge(ABC):
    """A language model that grades replies."""

    asks: bool = True
    """False for one that nobody stands behind: what it would be asked is counted, and nothing graded."""
    batch: int = 1
    """Conversations that ``ask_batch`` takes at once."""
    num_workers: int = 1
    """Threads that may ask at the same time."""
    max_tokens: int = 256
    """The most that an answer has."""
    prices: tuple[float | None, float | None] = (None, None)
    """Of a million tokens in and of a million out; None where nobody said."""

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What its answers depend on, as plain values and without secrets: the cache tells judges apart by it."""

    @abstractmethod
    def ask(self, messages: JudgeMessages, attempt: int) -> str:
        """What it says. attempt: 0, or how often a malformed answer was asked for again.

        Raises BadSample where this conversation cannot be answered, InputError where none can.
        """

    def ask_batch(self, conversations: Sequence[JudgeMessages], attempt: int) -> list[str]:
        """As ``ask``; BadSample where one of them cannot be answered, which is then asked for alone."""
        return [self.ask(messages, attempt) for messages in conversations]

    def count(self, text: str) -> int:
        """Tokens of a text, for estimates: a quarter of its characters, where a judge has no tokenizer at hand."""
        return -(-len(text) // 4)

    def used(self) -> str:
        """What it has used so far, in words, where it counts that."""
        return ""

    def close(self) -> None:  # noqa: B027 -- most judges wait for nothing
        """Give up waiting: nothing more is asked, because the run ends early. May be called from another thread."""
