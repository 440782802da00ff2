"""From a batch of prompts to replies: the only place that asks the language model to generate.

Replies come as a whole here and in pieces from ``inference/streaming.py``, which runs the same ``generate_ids``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from ..core.types import Batch
from ..interfaces.model_parts import ChatTokenizer
from ..model.interleaved_model import InterleavedModel
from .generation_options import GenerationOptions, generation_options


class GeneratedReply(NamedTuple):
    """A reply and how it ended.

    text: without special tokens, and without the stop string that ended it.
    num_tokens: tokens that were generated for it, with the one that ended it.
    truncated: it reached the greatest length that it may have before it had ended.
    """

    text: str
    num_tokens: int
    truncated: bool


def right_align(embeds: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Move the padding of prompts from their end to their front, where generation wants it.

    embeds: (B, T, D), row b real up to ``lengths[b]``. Returns the embeddings (B, T, D), whose padding
    has arbitrary values, and the attention mask (B, T), 1 where a position is real.
    """
    steps = torch.arange(embeds.shape[1], device=embeds.device)  # (T,)
    shift = embeds.shape[1] - torch.tensor(lengths, device=embeds.device)[:, None]  # (B, 1) how far a row moves
    source = (steps - shift).clamp(min=0)  # (B, T) where each position comes from
    moved = embeds.gather(1, source[..., None].expand_as(embeds))  # (B, T, D)
    return moved, (steps >= shift).long()


def generate(model: InterleavedModel, batch: Batch, **options: object) -> list[str]:
    """One reply for each row of ``batch``, which must hold one document a row, padded at the end.

    options: as ``generation_options`` takes them. Raises InputError for an unknown one.
    """
    checked = generation_options(options)
    with eval_mode(model):
        embeds, mask = right_align(model.embed(batch), batch.document_lengths)
        new_ids = generate_ids(model, embeds, mask, checked)  # (B, n)
    return [decode_reply(model.llm.tokenizer, ids, checked.stop_strings) for ids in new_ids.tolist()]


@contextmanager
def eval_mode(model: InterleavedModel) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is in the mode in which it was.

    Modes are kept module by module: in training, frozen parts may be in evaluation mode while others are not.
    """
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in was_training.items():
            module.training = training


def generate_ids(
    model: InterleavedModel,
    embeds: Tensor,
    mask: Tensor,
    options: GenerationOptions,
    stopping: Sequence[StoppingCriteria] = (),
    **more: object,
) -> Tensor:
    """New tokens (B, n), padded at the end, after prompts (B, T, D) that are padded in front.

    mask: (B, T), 1 where a prompt is real. stopping: criteria besides the stop strings. more: further keyword arguments
    of Transformers' ``generate``, such as ``past_key_values`` and ``streamer``.

    With a seed, random numbers are drawn from a fork, and the caller's are afterwards as before.
    """
    criteria = StoppingCriteriaList(stopping)
    if options.stop_strings:
        criteria.append(_HoldsStopString(model.llm.tokenizer, options.stop_strings))
    if criteria:
        more["stopping_criteria"] = criteria
    with torch.random.fork_rng(enabled=options.seed is not None):
        if options.seed is not None:
            torch.manual_seed(options.seed)
        new_ids: Tensor = model.llm.generate(embeds, mask, **options.generate_kwargs, **more)
    return new_ids


def decode_reply(chat: ChatTokenizer, ids: Sequence[int], stop_strings: Sequence[str]) -> str:
    """The text of generated tokens up to the stop token or the stop string that ends it, whichever comes first."""
    end = _first_stop_token(chat, ids)
    text = chat.decode(ids if end is None else ids[:end])
    positions = [text.find(stop) for stop in stop_strings if stop in text]
    return text[: min(positions)] if positions else text


def to_reply(chat: ChatTokenizer, ids: Sequence[int], stop_strings: Sequence[str]) -> GeneratedReply:
    """One row of ``generate_ids`` as text, with its length and how it ended."""
    text = decode_reply(chat, ids, stop_strings)
    end = _first_stop_token(chat, ids)
    if end is not None:
        return GeneratedReply(text, end + 1, truncated=False)
    if text == decode_reply(chat, ids, ()):  # neither a stop token nor a stop string
        return GeneratedReply(text, len(ids), truncated=True)
    # ended by a stop string: the row is padded because other rows of the batch went on
    return GeneratedReply(text, len(ids) - _padding(chat, ids), truncated=False)


def _first_stop_token(chat: ChatTokenizer, ids: Sequence[int]) -> int | None:
    """The index of the first token that ends a reply, None where there is none."""
    for i, token in enumerate(ids):
        if token in chat.stop_ids:
            return i
    return None


def _padding(chat: ChatTokenizer, ids: Sequence[int]) -> int:
    """How many padding tokens the row ends with; 0 for a row of nothing else."""
    for count, token in enumerate(reversed(ids)):
        if token != chat.pad_id:
            return count
    return 0


class _HoldsStopString(StoppingCriteria):
    """Stops the rows whose text holds a stop string; Transformers' own criterion looks only at the end of a text."""

    def __init__(self, chat: ChatTokenizer, stop_strings: Sequence[str]) -> None:
        self.chat, self.stop_strings = chat, stop_strings

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:  # (B,) bool
        done = []
        for ids in input_ids.tolist():
            text = self.chat.decode(ids)
            done.append(any(stop in text for stop in self.stop_strings))
        return torch.tensor(done, device=input_ids.device)
