"""Replies: ours, from samples to text, and Transformers' ``generate`` with the same weights and the same prompts."""

from typing import Any

import torch

from ..core.sample import Media, Message, Sample
from ..inference.lm import LM
from ..processing.render import render
from .bench_models import SHAPES, noise, random_lm
from .bench_table import BenchCell, BenchTable
from .effort import Effort
from .stopwatch import alternate
from .transformers_peer import padded_batch, peer_of


def compare_generation(effort: Effort) -> list[BenchTable]:
    """Greedy replies of a fixed length to one prompt and to eight, and the first token alone."""
    shape = SHAPES[effort.shape]
    lm = random_lm(shape)
    lm.model.eval()
    rows: list[list[BenchCell]] = []
    with peer_of(lm) as peer:
        peer.eval()
        for num_prompts in (1, 8):
            samples = _questions(num_prompts, shape.side)
            for new_tokens in (1, 64 if effort.shape != "tiny" else 4):
                ours, theirs = _our_replies(lm, samples, new_tokens), _peer_replies(peer, lm, samples, new_tokens)
                same = sum(a == b for a, b in zip(ours(), theirs(), strict=True))
                seconds = alternate({"ours": ours, "theirs": theirs}, effort.rounds)
                total = num_prompts * new_tokens
                rates = [total / seconds["ours"], total / seconds["theirs"], seconds["theirs"] / seconds["ours"]]
                rows.append([f"{num_prompts} x {new_tokens} tokens", f"{same} of {num_prompts}", *rates])
    columns = ("", "same replies", "ours, tokens/s", "Transformers, tokens/s", "time / ours")
    return [BenchTable("generation", f"Generation, one picture a prompt, shape {effort.shape}", columns, rows)]


def _questions(count: int, side: int) -> list[Sample]:
    shown = [Media("image", noise(side, side, number)) for number in range(count)]
    return [Sample([Message("user", [picture, "what is it? " * (1 + i)])]) for i, picture in enumerate(shown)]


def _our_replies(lm: LM, samples: list[Sample], new_tokens: int) -> Any:
    return lambda: lm.reply(samples, max_new_tokens=new_tokens, min_new_tokens=new_tokens)


def _peer_replies(peer: Any, lm: LM, samples: list[Sample], new_tokens: int) -> Any:
    chat = lm.model.llm.tokenizer
    options = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False}

    def replies() -> list[str]:
        prompts = [render(sample, lm.adapters, chat, reply=True) for sample in samples]
        inputs = padded_batch(prompts, int(peer.config.image_token_id), left=True)
        del inputs["labels"]
        with torch.inference_mode():
            ids = peer.generate(**inputs, **options, pad_token_id=chat.pad_id, eos_token_id=chat.stop_ids)
        return [chat.decode(row) for row in ids[:, inputs["input_ids"].shape[1] :].tolist()]

    return replies
