"""How full packed rows are, and how even the load of ranks is, on the lengths of M4-Instruct.

    python benchmarks/balance.py [--batches 300]

What the lengths rest on: the sizes of the 41 data sets, each with its domain, are the paper's table, and so are 10
frames of a video and 729 tokens of a view. That most multi-image samples have two images, scenes 8 or 10 views, and
single images an overview and two to four tiles follows from the data sets. How long texts are is published nowhere:
lognormal around 90 tokens, between 12 and 3000, is a guess.
"""

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from interleave_plugins.dataset.base.m4_sets import TABLE

from interleave.core.types import Example, Visual
from interleave.data.packing import Packer

TOKENS, POOLED = 729, 196
"""Tokens of a view as published, and of a frame where frames are pooled two by two."""
WORLD = 8
"""Ranks, each with a packer of its own."""


class Balance(NamedTuple):
    """real: share of the tokens in rows that are no padding.

    fullest_tokens, fullest_views: those of the fullest rank over the mean of all ranks, mean over the steps.
    milliseconds: to choose one rank's batch.
    """

    real: float
    fullest_tokens: float
    fullest_views: float
    milliseconds: float


def lengths(count: int, pooled: bool = False) -> Iterator[tuple[int, int]]:
    """(tokens, views) of ``count`` samples, their data sets drawn in the table's proportions. The same every time.

    pooled: frames of videos have ``POOLED`` tokens.
    """
    rng = np.random.default_rng(0)
    expected = {entry.domain: 0.0 for entry in TABLE.values()}
    for entry in TABLE.values():
        expected[entry.domain] += entry.expected
    weights = np.array(list(expected.values()))
    for domain in rng.choice(list(expected), count, p=weights / weights.sum()):
        text = int(np.clip(rng.lognormal(4.5, 0.9), 12, 3000))
        views = number_of_views(str(domain), rng)
        yield views * (POOLED if pooled and domain == "multi_frame" else TOKENS) + text, views


def number_of_views(domain: str, rng: np.random.Generator) -> int:
    """Views of one sample of a domain."""
    if domain == "multi_image":
        return int(np.clip(2 + rng.geometric(0.5) - 1, 2, 8))
    if domain == "multi_frame":
        return 10
    if domain == "multi_view":
        return int(rng.choice([8, 10]))
    return int(rng.choice([3, 4, 5], p=[0.35, 0.15, 0.5]))  # multi_patch: an overview and two to four tiles


def example(tokens: int, views: int) -> Example:
    """What a packer looks at: the number of tokens and of views, without any content."""
    return Example(torch.empty(tokens, 0), torch.empty(0), torch.empty(0), [Visual("image", torch.empty(views, 0), [])])


def measure(sequence_length: int, batch_size: int, lookahead: float, pooled: bool, batches: int) -> Balance:
    """Pack ``batches`` batches on every rank. batch_size: in rows. lookahead: in batches, as of ``Packer``."""
    packers = [Packer(batch_size, sequence_length, 10_000, lookahead) for _ in range(WORLD)]
    supply = lengths(batches * WORLD * batch_size * sequence_length // 800, pooled)  # samples are longer than 800
    tokens, views = np.zeros((batches, WORLD)), np.zeros((batches, WORLD))
    spent = 0.0
    for step in range(batches):
        for rank, packer in enumerate(packers):
            while not packer.full:
                packer.add(step, example(*next(supply)))
            started = time.perf_counter()
            taken = [e for row in packer.take() for e in row]
            spent += time.perf_counter() - started
            tokens[step, rank] = sum(len(e.input_ids) for e in taken)
            views[step, rank] = sum(e.views for e in taken)
    return Balance(
        real=float(tokens.mean() / (batch_size * sequence_length)),
        fullest_tokens=float(np.mean(tokens.max(1) / tokens.mean(1))),
        fullest_views=float(np.mean(views.max(1) / views.mean(1))),
        milliseconds=1000 * spent / batches / WORLD,
    )


def main(batches: int = 300) -> None:
    print("| row | rows | lookahead | clips | real tokens | tokens: fullest rank | views: fullest rank | ms a batch |")
    print("|--:|--:|--:|---|--:|--:|--:|--:|")
    for pooled in (False, True):
        for length, rows in ((16_384, 1), (16_384, 2), (32_768, 1)):
            for lookahead in (1.5, 4, 8):
                found = measure(length, rows, lookahead, pooled, batches)
                setting = f"| {length} | {rows} | {lookahead} | {'pooled' if pooled else 'whole'} "
                fullest = f"| {found.fullest_tokens:.3f} | {found.fullest_views:.3f} "
                print(f"{setting}| {found.real:.3f} {fullest}| {found.milliseconds:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--batches", type=int, default=300, help="batches of each rank; at least 30, or samples run out"
    )
    main(parser.parse_args().batches)
