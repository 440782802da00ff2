"""Contracts of the parts of a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor, nn

from ..media import to_view
from ..types import VisionSpec, Visual

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
