"""Batch -> text: the only place where replies are made."""

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from ..core.errors import InputError, hint
from ..core.types import Batch
from ..interfaces.model_parts import ChatTokenizer
from ..model.interleaved_model import InterleavedModel

LENGTH = 256
"""New tokens of a reply, where no option says."""
SAMPLING = ("temperature", "top_k", "top_p")
HALF = "\ufffd"
"""What a part of a character is decoded to."""


class Said(NamedTuple):
    """A reply. tokens: that were made for it. cut: it had not ended when it reached the most that it may have."""

    text: str
    tokens: int
    cut: bool


class Options(NamedTuple):
    """How a reply is made: what Transformers' ``generate`` gets, where it is cut, and from where chance begins."""

    given: dict[str, Any]
    stops: tuple[str, ...] = ()
    seed: int | None = None


def settle(options: Mapping[str, Any]) -> Options:
    """Options in the terms of Transformers' ``generate``, and ``seed``. Raises InputError for an unknown one.

    Giving temperature, top_k or top_p samples. ``stop_strings`` is one string or several; a reply ends before any.
    """
    given = dict(options)
    known = {*GenerationConfig().to_dict(), "seed", "past_key_values"} - {"transformers_version"}
    for name in given:
        if name not in known:
            raise InputError(f"generation has no option {name!r}{hint(name, known)}")
    seed, stops = given.pop("seed", None), given.pop("stop_strings", None) or ()
    stops = (stops,) if isinstance(stops, str) else tuple(stops)
    if any(given.get(name) is not None for name in SAMPLING):
        given.setdefault("do_sample", True)
    if not {"max_new_tokens", "max_length"} & given.keys():
        given["max_new_tokens"] = LENGTH
    return Options(given, stops, seed)


def right_align(embeds: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B, T, D) with padding at the end -> padding in front, and the mask (B, T) of what is real."""
    steps = torch.arange(embeds.shape[1], device=embeds.device)
    shift = (embeds.shape[1] - lengths)[:, None]
    source = (steps - shift).clamp(min=0)
    moved = embeds.gather(1, source[..., None].expand_as(embeds))
    return moved, (steps >= shift).long()


def generate(model: InterleavedModel, batch: Batch, **options: Any) -> list[str]:
    """One reply for each row of a batch of one document a row. ``options``: as ``settle`` takes them."""
    chosen = settle(options)
    with evaluating(model):
        embeds, mask = right_align(model.embed(batch), (batch.document_ids > 0).sum(1))
        new = respond(model, embeds, mask, chosen)
    return [decoded(model.llm.tokenizer, ids, chosen.stops) for ids in new.tolist()]


@contextmanager
def evaluating(model: InterleavedModel) -> Iterator[None]:
    """In evaluation mode and without gradients; afterwards every part is as before, frozen ones may differ."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def respond(model: InterleavedModel, embeds: Tensor, mask: Tensor, options: Options, **more: Any) -> Tensor:
    """Prompts (B, T, D) padded in front -> new tokens (B, n), padded at the end."""
    stopping = StoppingCriteriaList(more.pop("stopping", []))
    if options.stops:
        stopping.append(_Stops(model.llm.tokenizer, options.stops))
    if stopping:
        more["stopping_criteria"] = stopping
    with torch.random.fork_rng(enabled=options.seed is not None):
        if options.seed is not None:
            torch.manual_seed(options.seed)
        new: Tensor = model.llm.generate(embeds, mask, **options.given, **more)
    return new


def decoded(chat: ChatTokenizer, ids: Sequence[int], stops: Sequence[str]) -> str:
    """Text up to the token or the string that ends it."""
    ends = [i for i, token in enumerate(ids) if token in chat.stop_ids]
    text = chat.decode(ids[: ends[0]] if ends else ids)
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


def said(chat: ChatTokenizer, ids: Sequence[int], stops: Sequence[str]) -> Said:
    """A row of new tokens, padded at the end -> the reply, and how it ended."""
    text = decoded(chat, ids, stops)
    ends = [i for i, token in enumerate(ids) if token in chat.stop_ids]
    if ends:
        return Said(text, ends[0] + 1, False)
    if text == decoded(chat, ids, ()):
        return Said(text, len(ids), True)
    padding = next((i for i, token in enumerate(reversed(ids)) if token != chat.pad_id), 0)
    return Said(text, len(ids) - padding, False)


class _Stops(StoppingCriteria):
    """Rows whose text holds a stop string; Transformers' own looks only at how a text ends."""

    def __init__(self, chat: ChatTokenizer, stops: Sequence[str]) -> None:
        self.chat, self.stops = chat, stops

    def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
        texts = [self.chat.decode(row) for row in input_ids.tolist()]
        done = [any(stop in text for stop in self.stops) for text in texts]
        return torch.tensor(done, device=input_ids.device)


class _Closed(StoppingCriteria):
    """All rows, once nobody listens any more."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)


class _Tokens(BaseStreamer):
    """Puts every new token into a queue; the first thing that ``generate`` puts is the prompt."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[list[int] | None] = SimpleQueue()
        self.prompt = True

    def put(self, value: Tensor) -> None:
        if not self.prompt:
            self.queue.put(value.flatten().tolist())
        self.prompt = False

    def end(self) -> None:
        """``stream`` ends the queue itself, also where ``generate`` fails."""


def stream(
    model: InterleavedModel, embeds: Tensor, mask: Tensor, options: Options, **more: Any
) -> Generator[tuple[str, list[int]], None, None]:
    """The reply to one prompt (1, T, D) in pieces, each with all new tokens so far.

    A piece never ends within a character and never holds a part of a stop string. Closing the iterator ends the work.
    Raises InputError for beams, which have no words until they are done.
    """
    if options.given.get("num_beams", 1) > 1:
        raise InputError(f"num_beams={options.given['num_beams']} cannot stream: beams change their words; use 1")
    tokens, closed, failed = _Tokens(), _Closed(), []

    def work() -> None:
        try:
            with evaluating(model):
                respond(model, embeds, mask, options, streamer=tokens, stopping=[closed], **more)
        except Exception as error:  # noqa: BLE001, it is raised again where the pieces are read
            failed.append(error)
        finally:
            tokens.queue.put(None)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    ids: list[int] = []
    shown = ""
    try:
        while (new := tokens.queue.get()) is not None:
            ids += new
            text = _certain(decoded(model.llm.tokenizer, ids, options.stops), options.stops)
            if text.startswith(shown) and len(text) > len(shown):
                yield text[len(shown) :], ids
                shown = text
    finally:
        closed.event.set()
        worker.join()
    if failed:
        raise failed[0]
    yield decoded(model.llm.tokenizer, ids, options.stops)[len(shown) :], ids


def _certain(text: str, stops: Sequence[str]) -> str:
    """What later tokens cannot change: no half character at the end, nor what may become a stop string."""
    text = text.rstrip(HALF)
    longest = max((n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
    return text[: len(text) - longest]
