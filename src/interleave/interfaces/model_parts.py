"""Contracts of the parts of a model."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from ..core.types import VisionSpec, Visual
from ..media.views import to_view

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

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


class ChatTokenizer(Protocol):
    """What a language model says about its text: tokens and the form of a turn."""

    pad_id: int
    newline_id: int
    """Stands for the learned separator; no token of the tokenizer has it."""
    stop_ids: list[int]
    """Any of them ends a reply."""
    format_ids: frozenset[int]
    """What the turn format is made of, as ``published`` labels count it: its special tokens and a line break."""
    system: str
    """The system turn of a conversation that has none; empty for none."""
    begin: str
    """Before the first turn."""
    tokenizer: "PreTrainedTokenizerBase"
    """The tokenizer of Transformers, which published layouts write."""

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


class VisionEncoder(nn.Module, ABC):
    """Views to features.

    A subclass sets ``spec`` and ``dim`` in its constructor, which takes the options of its config and nothing else.
    """

    spec: VisionSpec
    """Side, grid, mean and standard deviation of the views that it takes."""
    dim: int
    """Width of its features."""
    shape: Mapping[str, Any] = MappingProxyType({})
    """The config of a tower of Transformers, as plain values; empty for all others. Published layouts write it."""

    @abstractmethod
    def forward(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) normalised pixels -> (V, spec.tokens, dim) features, the patches row by row."""

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The repeated layers: units of sharding and of activation checkpointing."""

    @abstractmethod
    def portable(self) -> dict[str, Any]:
        """Options that replace those it was built with, to build the same shape without the files that they name.

        They go into the ``config.yaml`` of a run, so they must be plain values.
        """


class Projector(nn.Module, ABC):
    """Features of the vision encoder to features of the language model.

    Its constructor takes ``vision_dim``, ``llm_dim``, the ``grid`` and ``prefix`` of the encoder, and its own options.
    """

    grid: int
    """Tokens a side that it leaves of a view."""
    prefix: int
    """Tokens that it leaves before them, such as a class token."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """(V, P, vision_dim) -> (V, prefix + grid * grid, llm_dim)"""

    def portable(self) -> dict[str, Any]:
        """As the vision encoder's; nothing where its options say everything."""
        return {}


class LanguageModel(nn.Module, ABC):
    """Embeddings to hidden states, logits and replies.

    Attention is causal and never crosses from one document of a row into another.
    """

    dim: int
    """Width of embeddings and hidden states."""
    tokenizer: ChatTokenizer
    context: int | None
    """Tokens that a prompt and its reply may have together, where there is a limit."""
    newline: nn.Parameter
    """(dim,) the learned separator, which stands where ``tokenizer.newline_id`` does."""

    @abstractmethod
    def forward(self, embeds: Tensor, position_ids: Tensor, document_ids: Tensor) -> Tensor:
        """(B, T, dim), (B, T), (B, T) -> hidden states after the last norm, (B, T, dim)."""

    @abstractmethod
    def embed(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, dim); ``tokenizer.newline_id`` becomes the learned separator."""

    @abstractmethod
    def head(self, hidden: Tensor) -> Tensor:
        """(n, dim) hidden states -> (n, vocabulary) logits."""

    @abstractmethod
    def generate(self, embeds: Tensor, mask: Tensor, **options: Any) -> Tensor:
        """Left-padded prompts (B, T, dim) and their mask (B, T) -> (B, n) new tokens, padded at the end.

        options: in the terms of Transformers' ``generate``.
        """

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The repeated layers: units of sharding and of activation checkpointing."""

    @abstractmethod
    def portable(self) -> dict[str, Any]:
        """As the vision encoder's; without the tokenizer's files, too."""

    def transformers_model(self) -> "PreTrainedModel | None":
        """The model of Transformers inside, where there is one: published layouts hold no other."""
        return None


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
