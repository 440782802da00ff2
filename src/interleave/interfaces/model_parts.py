"""The contracts of the parts of a model: vision encoder, projector, language model and modality.

Shapes: B rows of T tokens, V views of S x S pixels, P features a view, D = ``dim`` of the language model.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from ..core.options import Config
from ..core.types import Segments, VisionSpec, Visual
from ..media.pixels import OPENERS, Picture, Resize
from ..media.views import to_view

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ChatTokenizer(Protocol):
    """A language model's tokens, and the form in which it writes the turns of a conversation.

    A turn is ``open(role)``, what is said, ``close(role)``. These, ``begin`` and the titles in a visual's layout are
    text of the format, in which special tokens are special; in what someone says they are plain text.
    """

    pad_id: int
    """Fills up rows, and stands in ``input_ids`` where features will be."""
    newline_id: int
    """Stands for the learned separator; no token of the tokenizer has this number."""
    stop_ids: list[int]
    """Tokens that end a reply."""
    format_ids: frozenset[int]
    """What the turns of user and assistant are made of besides their text, for ``published`` labels: their special
    tokens, and the line break where that is one token."""
    system: str
    """What the system says in a conversation that does not say it; empty for no system turn."""
    begin: str
    """What stands before the first turn."""
    tokenizer: "PreTrainedTokenizerBase"
    """The tokenizer of Transformers, which published layouts write."""

    def encode(self, text: str, special: bool) -> list[int]:
        """Text -> token ids; nothing is added before or after.

        special: whether special tokens in the text become tokens. False for what someone typed or a data set holds:
            such text can never become a special token.
        """

    def pieces(self, template: str) -> list[int | str]:
        """Text of the format -> in order the ids of its special tokens, and the plain text between them."""

    def decode(self, ids: Sequence[int]) -> str:
        """Token ids -> text, without special tokens and separators."""

    def name(self, token: int) -> str:
        """How a special token is shown to a person."""

    def open(self, role: str) -> str:
        """What stands before the text of a turn of this role."""

    def close(self, role: str) -> str:
        """What stands after the text of a turn of this role."""

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into a folder, which ``llm.tokenizer=FOLDER`` reads again."""


class VisionEncoder(nn.Module, ABC):
    """Views -> features.

    A subclass sets ``spec`` and ``dim`` in its constructor, which takes the options of its config and nothing else.
    """

    spec: VisionSpec
    """Size, grid, mean and standard deviation of the views that it takes."""
    dim: int
    """The width of its features."""
    shape: Config = MappingProxyType({})
    """The config of an encoder of Transformers as plain values, which published layouts write; empty for others."""

    @abstractmethod
    def forward(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) normalised pixels -> (V, spec.tokens, dim) features, those of the grid row by row."""

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The repeated layers: the units of sharding and of activation checkpointing."""

    @abstractmethod
    def portable(self) -> dict[str, object]:
        """Options that replace those it was built with, so that the same shape is built without the files that they
        name.

        They go into the ``config.yaml`` of a checkpoint, so they must be plain values.
        """


class Projector(nn.Module, ABC):
    """Features of the vision encoder -> features of the language model.

    Its constructor takes ``vision_dim``, ``llm_dim``, the encoder's ``grid`` and ``prefix``, and its own options.
    """

    grid: int
    """Features a side of a view that it leaves; fewer than the encoder's where it pools."""
    prefix: int
    """Features of a view that it leaves before those of the grid, such as one for a class token."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """(V, encoder's tokens, vision_dim) -> (V, prefix + grid * grid, llm_dim)."""

    def portable(self) -> dict[str, object]:
        """As ``VisionEncoder.portable``; nothing where its options name no files."""
        return {}


class LanguageModel(nn.Module, ABC):
    """Embeddings -> hidden states, logits and replies.

    Attention is causal and never crosses from one document of a row into another.
    """

    dim: int
    """The width D of embeddings and hidden states."""
    tokenizer: ChatTokenizer
    context: int | None
    """How many tokens a prompt and its reply may have together; None where there is no limit."""
    newline: nn.Parameter
    """(D,), the learned separator, which stands where ``tokenizer.newline_id`` does."""

    @abstractmethod
    def forward(self, embeds: Tensor, position_ids: Tensor, segments: Segments) -> Tensor:
        """(B, T, D), (B, T) -> hidden states after the last norm, (B, T, D).

        segments: the documents of the rows, as numbers that need not be read from the device.
        """

    @abstractmethod
    def embed(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, D); the learned separator stands where ``tokenizer.newline_id`` does."""

    @abstractmethod
    def head(self, hidden: Tensor) -> Tensor:
        """(n, D) hidden states -> (n, vocabulary) logits."""

    def head_matrix(self) -> nn.Module | None:
        """The module inside whose ``weight`` (vocabulary, D) is all of the head: logits are ``hidden @ weight.T``.

        The loss then forms the weight's gradient itself, in less time and memory. None where the head does more, such
        as a bias, a scale or a cap, or where an adapter is on it.
        """
        return None

    @abstractmethod
    def generate(self, embeds: Tensor, mask: Tensor, **options: object) -> Tensor:
        """Left-padded prompts (B, T, D) and their mask (B, T) -> (B, new tokens), padded at the end.

        mask: 1 where a prompt has a token, 0 on padding.
        options: in the terms of Transformers' ``generate``.
        """

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The repeated layers: the units of sharding and of activation checkpointing."""

    @abstractmethod
    def portable(self) -> dict[str, object]:
        """As ``VisionEncoder.portable``; the tokenizer's files count among the files."""

    def transformers_model(self) -> "PreTrainedModel | None":
        """The model of Transformers inside, which published layouts hold; None where there is none."""
        return None


class ModalityAdapter(nn.Module, ABC):
    """Turns one kind of media into views, and the features of these views into tokens.

    A video, a big picture and a 3D scene differ here and nowhere else.
    """

    samples: bool = False
    """Whether it leaves out pictures of a piece of media by design, as a video's frames are sampled. Where it does
    not, the audit of an evaluation counts each one left out as lost."""

    def __init__(self, vision: VisionSpec, fit: Literal["square", "pad"] = "square", resize: Resize = "torch") -> None:
        """vision: the views that the model takes, and how many features each has after the projector.
        fit: how a picture becomes a square view: resized directly, or padded with the mean colour first.
        resize: who resizes what ``picture`` opens.
        """
        super().__init__()
        self.vision, self.fit, self.resize = vision, fit, resize

    @abstractmethod
    def prepare(self, data: Any) -> Visual:  # Any: each adapter says which data it takes
        """A piece of media -> views and layout. Runs on the CPU, in a loader worker.

        Raises BadSample where ``data`` cannot be used.
        """

    def merge(self, features: Tensor, meta: Mapping[str, Any]) -> Tensor:  # Any: each adapter knows what it wrote
        """(V, prefix + grid * grid, D) projected features -> (n, D), where n is the sum of the layout's numbers.

        meta: of the Visual.
        """
        return features.flatten(0, 1)  # (V * P, D)

    @abstractmethod
    def example(self) -> object:
        """Small data that ``prepare`` takes, for tests and demonstrations."""

    def fewer(self, views: int) -> "ModalityAdapter | None":
        """The same adapter, showing at most ``views`` views of a piece of media; None where it cannot show fewer."""
        return None

    def picture(self, data: object, least: tuple[int, int] | None = None) -> Picture:
        """What ``interleave.load_image`` takes -> a picture to be resized as the option ``resize`` says.

        least: the width and height in which it is needed; by default those of a view. With ``resize=scaled`` a large
            JPEG comes smaller than it is, but not below them.

        Raises BadSample for what is no picture.
        """
        return OPENERS[self.resize](data, least or (self.vision.size, self.vision.size))

    def views(self, pictures: Sequence[Picture]) -> Tensor:
        """V pictures of any size -> (V, 3, S, S) uint8."""
        return torch.stack([to_view(picture, self.vision, self.fit) for picture in pictures])
