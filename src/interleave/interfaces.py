"""The contracts that a plugin fulfils, one for each registry."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor, nn

from .media import to_view
from .sample import Preference, Sample
from .types import InputError, VisionSpec, Visual

_FOLLOW: ContextVar[bool] = ContextVar("weights_follow", default=False)


def weights_follow() -> bool:
    """Whether the part that is being built gets its weights later, from a checkpoint, and computes nothing until then.

    A part that tries itself does so in a method ``filled()``, which is called once they are in place.
    """
    return _FOLLOW.get()


@contextmanager
def later_weights() -> Iterator[None]:
    """Parts built inside are told that their weights follow."""
    token = _FOLLOW.set(True)
    try:
        yield
    finally:
        _FOLLOW.reset(token)


class Chat(Protocol):
    """What a language model says about its text: tokens and the form of a turn."""

    pad_id: int
    newline_id: int
    """Stands for the learned separator; no token of the tokenizer has it."""
    stop_ids: Sequence[int]
    """Any of them ends a reply."""
    format_ids: frozenset[int]
    """What the turn format is made of, as ``published`` labels count it: its special tokens and a line break."""
    system: str
    """The system turn of a conversation that has none; empty for none."""
    begin: str
    """Before the first turn."""

    def encode(self, text: str, special: bool) -> list[int]:
        """``special=False`` is text that someone typed: it can never become a special token."""

    def pieces(self, template: str) -> list[int | str]:
        """Text of the format -> ids of its special tokens, and the plain text between them."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text without special tokens."""

    def name(self, token: int) -> str:
        """How a special token is shown to a person."""

    def open(self, role: str) -> str: ...
    def close(self, role: str) -> str: ...

    def save(self, folder: Path) -> None:
        """Write what ``llm.tokenizer=folder`` reads again."""


@runtime_checkable
class VisionEncoder(Protocol):
    """An ``nn.Module``: (V, 3, S, S) normalised pixels -> (V, spec.tokens, dim) features, the patches row by row."""

    spec: VisionSpec
    dim: int

    def blocks(self) -> list[nn.Module]:
        """The repeated layers: units of sharding and of activation checkpointing."""

    def portable(self) -> dict[str, Any]:
        """Options that replace those it was built with, to build the same shape without the files that they name."""


@runtime_checkable
class Projector(Protocol):
    """An ``nn.Module``: (V, P, vision_dim) -> (V, prefix + grid * grid, llm_dim)."""

    grid: int
    """Tokens a side that it leaves of a view."""
    prefix: int
    """Tokens that it leaves before them, such as a class token."""

    def portable(self) -> dict[str, Any]:
        """As the vision encoder's."""


@runtime_checkable
class LanguageModel(Protocol):
    """An ``nn.Module``: embeddings (B, T, dim), positions and document (B, T) -> hidden states (B, T, dim).

    Attention is causal and never crosses from one document of a row into another.
    """

    dim: int
    chat: Chat
    context: int | None
    """Tokens that a prompt and its reply may have together, where there is a limit."""
    head: Callable[[Tensor], Tensor]
    """(n, dim) hidden states -> (n, vocabulary) logits."""

    def blocks(self) -> list[nn.Module]:
        """The repeated layers: units of sharding and of activation checkpointing."""

    def portable(self) -> dict[str, Any]:
        """As the vision encoder's; without the tokenizer's files, too."""

    def embed(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, dim); ``chat.newline_id`` becomes the learned separator."""

    def generate(self, embeds: Tensor, mask: Tensor, **options: Any) -> Tensor:
        """Left-padded prompts (B, T, dim) and their mask (B, T) -> (B, n) new tokens, padded at the end."""


class ModalityAdapter(nn.Module, ABC):
    """Turns one kind of media into views and tokens. The only place that knows what a video is."""

    samples: bool = False
    """Whether it shows some of a piece's pictures by design, as of a video's frames; else each one left out is a loss.
    """

    def __init__(self, vision: VisionSpec, fit: Literal["square", "pad"] = "square") -> None:
        """``fit``: how a picture becomes a square view, resized directly or padded with the mean colour first."""
        super().__init__()
        self.vision, self.fit = vision, fit

    @abstractmethod
    def prepare(self, data: Any) -> Visual:
        """Raw media -> pixels and layout. Runs on the CPU, in a loader worker. Raises BadSample."""

    def merge(self, features: Tensor, meta: Mapping[str, Any]) -> Tensor:
        """(V, grid * grid, D) projected features -> (n, D), n as promised by the numbers of the layout."""
        return features.flatten(0, 1)

    @abstractmethod
    def example(self) -> Any:
        """Small data that ``prepare`` takes, for tests and demonstrations."""

    def fewer(self, views: int) -> "ModalityAdapter | None":
        """The same adapter showing at most so many views of a piece of media; None where it cannot show less."""
        return None

    def views(self, images: Sequence[Image.Image]) -> Tensor:
        """Pictures of any size -> (V, 3, S, S) uint8."""
        return torch.stack([to_view(image, self.vision, self.fit) for image in images])


class Dataset(ABC):
    """Samples by number."""

    weight: float = 1.0
    """How often an epoch reads each sample, on average."""
    group: str = ""
    """What ``interleave data`` counts it under, such as a domain."""
    expected: int | None = None
    """How many samples there should be, where that is known."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample | Preference:
        """A conversation, or a preferred and a rejected one. Raises BadSample where the record is not usable."""

    def validation(self) -> "Dataset | None":
        """Samples held back from training, if the data set has any."""
        return None

    def id(self, index: int) -> str:
        """How the data calls a sample; cheap, and there even where the sample is broken."""
        return str(index)

    def sources(self, name: str) -> Mapping[str, "Dataset"]:
        """The parts among which the mixture draws, where it is a collection; itself, under its ``name``, else."""
        return {name: self}

    def chunks(self) -> Sequence[int]:
        """Lengths of runs of samples that are cheap to read together, such as shards; empty where any order is."""
        return ()


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


Messages = list[dict[str, str]]
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
    def judge(self, record: Mapping[str, Any], reply: str) -> Messages:
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
    workers: int = 1
    """Threads that may ask at the same time."""
    max_tokens: int = 256
    """The most that an answer has."""
    prices: tuple[float | None, float | None] = (None, None)
    """Of a million tokens in and of a million out; None where nobody said."""

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What its answers depend on, as plain values and without secrets: the cache tells judges apart by it."""

    @abstractmethod
    def ask(self, messages: Messages, attempt: int) -> str:
        """What it says. attempt: 0, or how often a malformed answer was asked for again.

        Raises BadSample where this conversation cannot be answered, InputError where none can.
        """

    def ask_batch(self, conversations: Sequence[Messages], attempt: int) -> list[str]:
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
