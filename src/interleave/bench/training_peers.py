"""Training steps over the same samples: packed rows of ours, padded batches of Transformers' own class."""

from collections.abc import Sequence
from typing import Any

import torch

from ..core.types import Batch, Example
from ..data.packing import Packer
from ..model.interleaved_model import InterleavedModel
from ..processing.collate import collate
from ..processing.render import render
from .bench_models import SHAPES, m4_like_samples, random_lm
from .bench_table import BenchCell, BenchTable
from .effort import Effort
from .stopwatch import Side, alternate
from .transformers_peer import PaddedBatch, padded_batch, peer_of

ROW, PADDED_ROWS = 4096, 8
"""Tokens of a packed row, and samples of a padded batch."""


def compare_training(effort: Effort) -> list[BenchTable]:
    """Forward, backward and AdamW of every part, on the same weights; the loss of both is compared first."""
    shape = SHAPES[effort.shape]
    lm = random_lm(shape)
    samples = m4_like_samples(effort.samples, shape.side)
    examples = [render(sample, lm.adapters, lm.model.llm.tokenizer) for sample in samples]
    row = max(ROW, max(len(example.input_ids) for example in examples))
    ours = packed_batches(examples, row, lm.vision)
    by_length = sorted(examples, key=lambda example: len(example.input_ids))
    with peer_of(lm) as peer:
        token = int(peer.config.image_token_id)
        padded = {
            "Transformers, padded": _padded(examples, token),
            "Transformers, padded, grouped by length": _padded(by_length, token),
        }
        losses = (_our_loss(lm.model, ours), _peer_loss(peer, padded["Transformers, padded"]))
        sides: dict[str, Side] = {"ours, packed": _our_steps(lm.model, ours)}
        sides |= {name: _peer_steps(peer, batches) for name, batches in padded.items()}
        seconds = alternate(sides, effort.rounds)
    real = sum(len(example.input_ids) for example in examples)
    tokens = {"ours, packed": sum(batch.input_ids.numel() for batch in ours)}
    tokens |= {name: sum(b["input_ids"].numel() for b in batches) for name, batches in padded.items()}
    fastest = seconds["ours, packed"]
    rows: list[list[BenchCell]] = [
        [name, real / tokens[name], real / spent, spent / fastest] for name, spent in seconds.items()
    ]
    title = f"Training, {len(examples)} samples like M4-Instruct's of {real:,} tokens, shape {effort.shape}"
    note = f"The same loss before: {losses[0]:.5f} and {losses[1]:.5f}."
    return [BenchTable("training", title, ("", "real tokens", "real tokens/s", "time / ours"), rows, note)]


def packed_batches(examples: Sequence[Example], row: int, vision: Any) -> list[Batch]:
    """Examples in batches of one row of ``row`` tokens. vision: of the model, for ``collate``."""
    packer = Packer(1, row, 10_000, 4)
    for place, example in enumerate(examples):
        packer.add(place, example)
    batches = []
    while packer.waiting:
        batches.append(collate(packer.take(), row, vision))
    return batches


def _padded(examples: Sequence[Example], image_token: int) -> list[PaddedBatch]:
    starts = range(0, len(examples), PADDED_ROWS)
    return [padded_batch(examples[start : start + PADDED_ROWS], image_token) for start in starts]


def _our_loss(model: InterleavedModel, batches: Sequence[Batch]) -> float:
    """The mean over all supervised tokens."""
    with torch.no_grad():
        sums = [model.loss(batch) for batch in batches]
    return sum(float(loss) for loss, _ in sums) / sum(int(count) for _, count in sums)


def _peer_loss(peer: Any, batches: Sequence[PaddedBatch]) -> float:
    """As ``_our_loss``; Transformers gives the mean of a batch."""
    total, count = 0.0, 0
    for batch in batches:
        supervised = int((batch["labels"][:, 1:] >= 0).sum())
        with torch.no_grad():
            total += supervised * float(peer(**batch, use_cache=False).loss)
        count += supervised
    return total / count


def _our_steps(model: InterleavedModel, batches: Sequence[Batch]) -> Side:
    model.train()
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def steps() -> None:
        for batch in batches:
            loss, count = model.loss(batch)
            (loss / count).backward()
            adamw.step()
            adamw.zero_grad()

    return steps


def _peer_steps(peer: Any, batches: Sequence[PaddedBatch]) -> Side:
    peer.train()
    adamw = torch.optim.AdamW(peer.parameters(), lr=1e-6)

    def steps() -> None:
        for batch in batches:
            peer(**batch, use_cache=False).loss.backward()
            adamw.step()
            adamw.zero_grad()

    return steps
