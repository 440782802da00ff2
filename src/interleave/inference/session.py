"""A conversation that goes on: what was computed for earlier turns is kept."""

from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from ..core.sample import Message, Sample
from ..core.types import Batch, Example, VisionSpec, Visual
from ..interfaces.model_parts import ModalityAdapter
from ..model.interleaved_model import InterleavedModel
from ..processing.collate import one_per_row
from ..processing.render import render
from .feature_cache import Features, key
from .generate import Options, decoded, evaluating, respond, settle, stream


class _Once:
    """An adapter that prepares each piece of media once."""

    def __init__(self, adapter: ModalityAdapter) -> None:
        self.adapter = adapter
        self.kept: dict[int, tuple[Any, Visual]] = {}

    def prepare(self, data: Any) -> Visual:
        if id(data) not in self.kept:
            self.kept[id(data)] = (data, self.adapter.prepare(data))  # holds data, so that no other gets its id
        return self.kept[id(data)][1]


class Session:
    """Turns of one conversation, the keys and values of all that was read and said, and the features of its visuals.

    ``turns`` may be changed by hand: what no longer agrees with the kept state is computed again.
    """

    def __init__(self, model: InterleavedModel, adapters: Mapping[str, ModalityAdapter], vision: VisionSpec) -> None:
        self.model, self.vision = model, vision
        self.adapters: Any = {kind: _Once(adapter) for kind, adapter in adapters.items()}
        self.messages: list[Message] = []
        self.features = Features(model)
        self._ids: list[int] = []
        self._shown: list[str] = []
        self._cache: DynamicCache | None = None

    def ask(self, question: Message | str, **generation: Any) -> str:
        """The reply to the next turn of the user; both become part of the conversation. Raises BadSample."""
        options = settle(generation)
        if options.given.get("num_beams", 1) > 1:  # beams spread the cache over their rows
            turn, embeds, _ = self._prompt(question)
            with evaluating(self.model):
                ids = respond(self.model, embeds, _everything(embeds), options)[0].tolist()
            self._forget()
            return self._said(turn, decoded(self.model.llm.tokenizer, ids, options.stops))
        return "".join(self._stream(question, options))

    def stream(self, question: Message | str, **generation: Any) -> Generator[str, None, None]:
        """The same in pieces, as they come. Where it is closed early, what was said until then is the reply."""
        yield from self._stream(question, settle(generation))

    def _stream(self, question: Message | str, options: Options) -> Generator[str, None, None]:
        turn, embeds, example = self._prompt(question)
        cache = self._kept(example)
        prompt: list[int] = example.input_ids.tolist()
        ids: list[int] = []
        said = ""
        try:
            with closing(stream(self.model, embeds, _everything(embeds), options, past_key_values=cache)) as pieces:
                for piece, ids in pieces:  # noqa: B007, they are read below
                    said += piece
                    yield piece
        except GeneratorExit:
            self._remember(cache, [*prompt, *ids], example)
            self._said(turn, said)
            raise
        except BaseException:
            self._forget()
            raise
        self._remember(cache, [*prompt, *ids], example)
        self._said(turn, said)

    def _prompt(self, question: Message | str) -> tuple[Message, Tensor, Example]:
        turn = Message("user", [question]) if isinstance(question, str) else question
        example = render(Sample([*self.messages, turn]), self.adapters, self.model.llm.tokenizer, reply=True)
        batch: Batch = one_per_row([example], self.vision).to(self.model.mean.device)
        with evaluating(self.model):
            return turn, self.model.embed(batch, self.features.of(example.visuals)), example

    def _kept(self, example: Example) -> DynamicCache:
        """The cache, cut to what the new prompt has in common with it; one token at least is left to compute."""
        ids = example.input_ids.tolist()
        same = next(
            (i for i, (a, b) in enumerate(zip(ids, self._ids, strict=False)) if a != b), min(len(ids), len(self._ids))
        )
        shown = [key(visual) for visual in example.visuals]
        if self._cache is None or shown[: len(self._shown)] != self._shown:
            return DynamicCache()
        surplus = self._cache.get_seq_length() - min(same, len(ids) - 1)
        if surplus > 0:
            self._cache.crop(-surplus)
        return self._cache

    def _remember(self, cache: DynamicCache, ids: list[int], example: Example) -> None:
        self._cache, self._ids = cache, ids[: cache.get_seq_length()]
        self._shown = [key(visual) for visual in example.visuals]

    def _forget(self) -> None:
        self._cache, self._ids, self._shown = None, [], []

    def _said(self, turn: Message, text: str) -> str:
        self.messages += [turn, Message("assistant", [text])]
        return text


def _everything(embeds: Tensor) -> Tensor:
    """The mask (1, T) of a prompt without padding."""
    return torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
