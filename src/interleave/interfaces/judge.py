"""The contracts of judges, and of tasks whose replies they grade."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from ..core.errors import InputError
from ..core.sample import Record
from .task import Task

JudgeMessages = list[dict[str, str]]
"""A conversation with a judge: ``{"role": "system" or "user", "content": text}`` for each message."""


class JudgedTask(Task):
    """Questions whose replies another language model grades."""

    def together(self, asked: Sequence[tuple[Record, str]]) -> Sequence[tuple[Record, str] | None]:
        """Items and the model's replies to them -> the arguments of ``judge`` for each, in the same order.

        The same pairs, where replies are judged one by one. Where a reply is judged beside that to another item, its
        record gets that reply, too; None stands for an item whose other one is missing.
        """
        return asked  # each reply by itself

    @abstractmethod
    def judge(self, record: Record, reply: str) -> JudgeMessages:
        """What the judge is asked about a reply."""

    @abstractmethod
    def judgement(self, text: str) -> dict[str, float] | None:
        """The judge's answer -> metrics; None where the answer does not have the form that was asked for."""

    def score(self, record: Record, reply: str) -> dict[str, float]:
        """Raises InputError: such a task has no score without a judge."""
        raise InputError(f"{type(self).__name__} is graded by a judge; choose one with judge=openai or judge=local")


class Judge(ABC):
    """A language model that grades replies."""

    asks: bool = True
    """False for a judge without a model behind it: what it would be asked is counted, and nothing is graded."""
    batch: int = 1
    """How many conversations ``ask_batch`` takes at once."""
    num_workers: int = 1
    """How many threads may ask at the same time."""
    max_tokens: int = 256
    """The most tokens that an answer has."""
    prices: tuple[float | None, float | None] = (None, None)
    """The price of a million tokens of questions and of a million tokens of answers; None where it is not known."""

    @abstractmethod
    def identity(self) -> Mapping[str, object]:
        """What its answers depend on, such as model, address and temperature, as plain values and without secrets.

        The cache of judgements finds earlier answers by it.
        """

    @abstractmethod
    def ask(self, messages: JudgeMessages, attempt: int) -> str:
        """The judge's answer to a conversation.

        attempt: 0 at first, then how often an answer of the wrong form was asked for again.

        Raises BadSample where this conversation cannot be answered, InputError where none can.
        """

    def ask_batch(self, conversations: Sequence[JudgeMessages], attempt: int) -> list[str]:
        """As ``ask``, for up to ``batch`` conversations.

        Raises BadSample where one of them cannot be answered; they are then asked for one by one.
        """
        return [self.ask(messages, attempt) for messages in conversations]

    def count(self, text: str) -> int:
        """About how many tokens a text has, for estimates of the price."""
        # four characters a token, rounded up: the rule of thumb for English, where a judge has no tokenizer at hand
        return -(-len(text) // 4)

    def used(self) -> str:
        """What it has used so far, in words such as a number of tokens; empty where it does not count."""
        return ""

    def close(self) -> None:  # noqa: B027 -- most judges wait for nothing
        """Stop waiting for answers, because the run ends early. May be called from another thread than ``ask``."""
