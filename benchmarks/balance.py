"""How full packed rows are, and how even the load of ranks, on the lengths of M4-Instruct.

python benchmarks/balance.py

What the lengths rest on: the counts of the 41 data sets, each with its domain, are the paper's table, and so are 10
frames of a video and 729 tokens of a view. That most multi-image samples have two images, scenes 8 or 10 views, and
single images an overview and two to four tiles follows from the data sets. How long texts are is published nowhere:
lognormal around 90 tokens, between 12 and 3000, is a guess.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
from interleave_plugins.dataset.base.m4_sets import TABLE

from interleave.core.types import Example, Visual
from interleave.data.packing import Packer

TOKENS, POOLED = 729, 196
"""Of a view as published, and of a frame where frames are pooled two by two."""
WORLD = 8


def lengths(count: int, pooled: bool = False) -> Iterator[tuple[int, int]]:
    """(tokens, views) of samples, their sets drawn in the table's proportions."""
    rng = np.random.default_rng(0)
    expected = {entry.domain: 0.0 for entry in TABLE.values()}
    for entry in TABLE.values():
        expected[entry.domain] += entry.expected
    weights = np.array(list(expected.values()))
    for domain in rng.choice(list(expected), count, p=weights / weights.sum()):
        text = int(np.clip(rng.lognormal(4.5, 0.9), 12, 3000))
        views = {
            "multi_image": lambda: int(np.clip(2 + rng.geometric(0.5) - 1, 2, 8)),
            "multi_frame": lambda: 10,
            "multi_view": lambda: int(rng.choice([8, 10])),
            "multi_patch": lambda: int(rng.choice([3, 4, 5], p=[0.35, 0.15, 0.5])),
        }[str(domain)]()
        yield views * (POOLED if pooled and domain == "multi_frame" else TOKENS) + text, views


def example(tokens: int, views: int) -> Example:
    return Example(torch.empty(tokens, 0), torch.empty(0), torch.empty(0), [Visual("image", torch.empty(views, 0), [])])


def run(length: int, rows: int, lookahead: float, pooled: bool, batches: int) -> list[float]:
    """Share of real tokens; fullest rank over the mean of all, in tokens and in views, mean over steps; ms a batch."""
    packers = [Packer(rows, length, 10_000, lookahead) for _ in range(WORLD)]
    supply = lengths(batches * WORLD * rows * length // 800, pooled)
    tokens, views = np.zeros((batches, WORLD)), np.zeros((batches, WORLD))
    spent = 0.0
    for step in range(batches):
        for rank, packer in enumerate(packers):
            while not packer.full:
                packer.add(step, example(*next(supply)))
            started = time.perf_counter()
            taken = [e for row in packer.take() for e in row]
            spent += time.perf_counter() - started
            tokens[step, rank], views[step, rank] = sum(len(e.input_ids) for e in taken), sum(e.views for e in taken)
    even = [float(np.mean(x.max(1) / x.mean(1))) for x in (tokens, views)]
    return [float(tokens.mean() / (rows * length)), *even, 1000 * spent / batches / WORLD]


def main(batches: int = 300) -> None:
    print("| row | rows | lookahead | clips | real tokens | tokens: fullest rank | views: fullest rank | ms a batch |")
    print("|--:|--:|--:|---|--:|--:|--:|--:|")
    for pooled in (False, True):
        for length, rows in ((16_384, 1), (16_384, 2), (32_768, 1)):
            for lookahead in (1.5, 4, 8):
                real, t, v, spent = run(length, rows, lookahead, pooled, batches)
                clips = "pooled" if pooled else "whole"
                print(f"| {length} | {rows} | {lookahead} | {clips} | {real:.3f} | {t:.3f} | {v:.3f} | {spent:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=300)
    main(parser.parse_args().batches)
