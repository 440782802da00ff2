"""A reply in pieces, as its tokens come: generation in a thread, read by an iterator."""

import threading
from collections.abc import Generator, Iterator, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from ..core.errors import InputError
from ..model.interleaved_model import InterleavedModel
from .generate import decode_reply, eval_mode, generate_ids
from .generation_options import GenerationOptions

if TYPE_CHECKING:
    from transformers import DynamicCache

REPLACEMENT_CHARACTER = "\ufffd"
"""What the first bytes of a character decode to as long as the others are missing."""


def stream_reply(
    model: InterleavedModel,
    embeds: Tensor,
    mask: Tensor,
    options: GenerationOptions,
    cache: "DynamicCache | None" = None,
) -> Generator[tuple[str, list[int]], None, None]:
    """Yield the reply to one prompt piece by piece: each piece of text, and all token ids generated so far.

    embeds: (1, T, D). mask: (1, T). cache: keys and values of the prompt's first tokens, which is filled further.

    A piece never ends within a character and never holds a part of a stop string. Closing the iterator ends the
    generation. Raises InputError for a beam search, whose words are not known until it is done, and whatever
    generation raises.
    """
    if options.num_beams > 1:
        raise InputError(f"num_beams={options.num_beams} cannot stream: beams change their words; use 1")
    chat, stop_strings = model.llm.tokenizer, options.stop_strings
    job = _GenerationThread(model, embeds, mask, options, cache)
    ids: list[int] = []
    shown = ""  # what has been yielded
    try:
        for new_ids in job.tokens():
            ids += new_ids
            text = _settled(decode_reply(chat, ids, stop_strings), stop_strings)
            # a tokenizer may change earlier text as tokens follow: then nothing is shown until it agrees again
            if text.startswith(shown) and len(text) > len(shown):
                yield text[len(shown) :], ids
                shown = text
    finally:
        job.stop()
    if job.error is not None:
        raise job.error
    yield decode_reply(chat, ids, stop_strings)[len(shown) :], ids


def _settled(text: str, stop_strings: Sequence[str]) -> str:
    """The text without what later tokens may change: half a character or the beginning of a stop string at its end."""
    text = text.rstrip(REPLACEMENT_CHARACTER)
    longest = 0  # the longest beginning of a stop string that the text ends with
    for stop in stop_strings:
        for length in range(1, len(stop)):
            if text.endswith(stop[:length]):
                longest = max(longest, length)
    return text[: len(text) - longest]


class _GenerationThread:
    """``generate_ids`` in a thread of its own, which starts at once; its new tokens wait in a queue."""

    def __init__(
        self,
        model: InterleavedModel,
        embeds: Tensor,
        mask: Tensor,
        options: GenerationOptions,
        cache: "DynamicCache | None",
    ) -> None:
        self.error: Exception | None = None
        self._streamer, self._stopped = _TokenQueue(), _Stopped()
        more: dict[str, object] = {} if cache is None else {"past_key_values": cache}

        def work() -> None:
            try:
                with eval_mode(model):
                    generate_ids(model, embeds, mask, options, [self._stopped], streamer=self._streamer, **more)
            except Exception as error:  # noqa: BLE001, it is raised again where the pieces are read
                self.error = error
            finally:
                self._streamer.queue.put(None)

        self._thread = threading.Thread(target=work, daemon=True)  # daemon: the program may end in mid-reply
        self._thread.start()

    def tokens(self) -> Iterator[list[int]]:
        """New tokens as they come, until generation has ended or failed."""
        while (new_ids := self._streamer.queue.get()) is not None:
            yield new_ids

    def stop(self) -> None:
        """End generation after the token that is being computed, and wait for that."""
        self._stopped.event.set()
        self._thread.join()


class _Stopped(StoppingCriteria):
    """Stops all rows once ``event`` is set."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:  # (B,) bool
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)


class _TokenQueue(BaseStreamer):
    """Puts every new token into a queue. Transformers' ``generate`` puts the prompt first, which is left out."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[list[int] | None] = SimpleQueue()  # None ends it
        self.prompt_is_next = True

    def put(self, value: Tensor) -> None:
        if not self.prompt_is_next:
            self.queue.put(value.flatten().tolist())
        self.prompt_is_next = False

    def end(self) -> None:
        """Nothing: the thread ends the queue itself, also where ``generate`` fails and never calls this."""
