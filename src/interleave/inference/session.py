"""A conversation that goes on: what was computed for earlier turns is used again."""

from collections.abc import Generator, Mapping
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from ..core.sample import Message
from ..core.types import Example, VisionSpec, Visual
from ..interfaces.model_parts import ModalityAdapter
from ..model.interleaved_model import InterleavedModel
from ..processing.collate import one_per_row
from ..processing.render import GrowingPrompt
from .feature_cache import FeatureCache, visual_key
from .generate import decode_reply, eval_mode, generate_ids
from .generation_options import GenerationOptions, generation_options
from .key_value_cache import reserving_cache
from .streaming import stream_reply


class Session:
    """Turns of one conversation, the keys and values of all tokens that were read and written, and visuals' features.

    A turn renders, embeds and computes what is new in it.
    ``messages`` may be changed by hand: what no longer agrees with the kept keys and values is computed again.
    """

    def __init__(self, model: InterleavedModel, adapters: Mapping[str, ModalityAdapter], vision: VisionSpec) -> None:
        self.model, self.vision = model, vision
        self.adapters = {kind: _PreparedOnce(adapter) for kind, adapter in adapters.items()}
        self.messages: list[Message] = []
        self.features = FeatureCache(model)
        self._prompts = GrowingPrompt(self.adapters, model.llm.tokenizer)
        self._keys: dict[int, tuple[Visual, str]] = {}  # ``visual_key`` of each visual, by its identity
        self._cache: DynamicCache | None = None
        self._ids: list[int] = []  # the tokens whose keys and values are in the cache
        self._visuals: list[str] = []  # keys of the visuals among them

    def ask(self, question: Message | str, **generation: object) -> str:
        """The reply to the user's next turn; both become part of the conversation.

        generation: as ``generation_options`` takes it. Raises BadSample for media that cannot be used, InputError for
        an unknown option.
        """
        options = generation_options(generation)
        if options.num_beams > 1:
            return self._beam_search(question, options)
        return "".join(self._stream(question, options))

    def stream(self, question: Message | str, **generation: object) -> Generator[str, None, None]:
        """As ``ask``, in pieces as they come. Where it is closed early, what was said until then is the reply."""
        yield from self._stream(question, generation_options(generation))

    def _beam_search(self, question: Message | str, options: GenerationOptions) -> str:
        """The reply without the kept state, which a search would spread over its beams and which is dropped."""
        self._forget()
        prompt = self._prompt(question)
        with eval_mode(self.model):
            ids = generate_ids(self.model, prompt.embeds, prompt.mask, options)[0].tolist()
        text = decode_reply(self.model.llm.tokenizer, ids, options.stop_strings)
        self._add(prompt.turn, text)
        return text

    def _stream(self, question: Message | str, options: GenerationOptions) -> Generator[str, None, None]:
        prompt = self._prompt(question)
        cache = self._cache or reserving_cache()
        prompt_ids: list[int] = prompt.example.input_ids.tolist()
        ids: list[int] = []
        text = ""
        try:
            with closing(stream_reply(self.model, prompt.embeds, prompt.mask, options, cache)) as pieces:
                for piece, ids in pieces:  # noqa: B007, they are read below
                    text += piece
                    yield piece
        except GeneratorExit:  # the reader wants no more
            self._remember(cache, [*prompt_ids, *ids], prompt.example)
            self._add(prompt.turn, text)
            raise
        except BaseException:  # the cache may be half filled
            self._forget()
            raise
        self._remember(cache, [*prompt_ids, *ids], prompt.example)
        self._add(prompt.turn, text)

    def _prompt(self, question: Message | str) -> "_Prompt":
        """The conversation so far with the user's next turn, as the model reads it; the kept keys and values are cut
        to what they have in common with it. Raises BadSample."""
        turn = Message("user", [question]) if isinstance(question, str) else question
        example = self._prompts.render([*self.messages, turn])
        num_kept = self._cut_cache(example)
        return _Prompt(turn, example, self._embed(example, num_kept))

    def _embed(self, example: Example, num_kept: int) -> Tensor:
        """(1, T, D) embeddings of an example, arbitrary where keys and values are kept: generation leaves these out."""
        new_visuals = [v for v, (start, _) in zip(example.visuals, example.spans, strict=True) if start >= num_kept]
        positions = example.visual_positions
        new = Example(
            input_ids=example.input_ids[num_kept:],
            labels=example.labels[num_kept:],
            visual_positions=positions[positions >= num_kept] - num_kept,
            visuals=new_visuals,
        )
        batch = one_per_row([new], self.vision).to(self.model.mean.device)
        with eval_mode(self.model):
            embeds = self.model.embed(batch, self.features.encode(new_visuals))  # (1, T - num_kept, D)
            whole = embeds.new_empty(1, len(example.input_ids), embeds.shape[-1])  # (1, T, D)
            whole[:, num_kept:] = embeds
        return whole

    def _cut_cache(self, example: Example) -> int:
        """Cut the kept keys and values to what the new prompt has in common with what they were computed for, and
        return how many tokens that are.

        At least the prompt's last token is left to compute, since generation begins from its hidden state, and a visual
        is kept as a whole or not at all. Its placeholder ids say nothing of what it shows, so that earlier visuals must
        be the same ones, too.
        """
        if self._cache is None or self._keys_of(example)[: len(self._visuals)] != self._visuals:
            self._forget()
            return 0
        ids = example.input_ids.tolist()
        keep = min(_common_prefix(ids, self._ids), len(ids) - 1)
        for start, end in example.spans:
            keep = start if start < keep < end else keep
        surplus = self._cache.get_seq_length() - keep
        if surplus > 0:
            self._cache.crop(-surplus)
        return keep

    def _keys_of(self, example: Example) -> list[str]:
        """``visual_key`` of each visual, computed once for each."""
        keys: list[str] = []
        for visual in example.visuals:
            if id(visual) not in self._keys:
                self._keys[id(visual)] = (visual, visual_key(visual))  # holds it, so that no other gets its id
            keys.append(self._keys[id(visual)][1])
        return keys

    def _remember(self, cache: DynamicCache, ids: list[int], example: Example) -> None:
        """Keep the cache. ids: of the prompt and the reply; the last ones may not have been through the model yet."""
        self._cache = cache
        self._ids = ids[: cache.get_seq_length()]
        self._visuals = self._keys_of(example)

    def _forget(self) -> None:
        self._cache = None
        self._ids = []
        self._visuals = []

    def _add(self, turn: Message, reply: str) -> None:
        self.messages += [turn, Message("assistant", [reply])]


class _Prompt(NamedTuple):
    """The user's turn, the conversation up to its end as an example, and that example's embeddings (1, T, D)."""

    turn: Message
    example: Example
    embeds: Tensor

    @property
    def mask(self) -> Tensor:
        """(1, T) ones: a prompt alone has no padding."""
        return torch.ones(self.embeds.shape[:2], dtype=torch.long, device=self.embeds.device)


class _PreparedOnce(ModalityAdapter):
    """An adapter that opens and prepares each piece of media once, however often the conversation is rendered."""

    def __init__(self, adapter: ModalityAdapter) -> None:
        super().__init__(adapter.vision, adapter.fit)
        self.adapter = adapter
        self.prepared: dict[int, tuple[object, Visual]] = {}  # by the identity of the data

    def prepare(self, data: object) -> Visual:
        if id(data) not in self.prepared:
            self.prepared[id(data)] = (data, self.adapter.prepare(data))  # holds data, so that no other gets its id
        _, visual = self.prepared[id(data)]
        return visual

    def example(self) -> object:
        return self.adapter.example()


def _common_prefix(one: list[int], other: list[int]) -> int:
    """How many ids both lists begin with."""
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return min(len(one), len(other))
