"""How full packed rows are, and how even the load of ranks, on the lengths of M4-Instruct.

python benchmarks/mixture.py
"""

import statistics
import time

import numpy as np
import torch
import yaml
from interleave_plugins.dataset.m4_sets import TABLE

from interleave.collate import Packer
from interleave.types import Example, Visual

TOKENS = 729  # of a view, as published
KINDS = {"image": (2, 8), "views": (8, 10)}


def lengths(count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(tokens, views) of samples, their sets drawn in the table's proportions, their visuals as the paper has them.

    Multi-image samples have 2 to 8 images (most have 2), videos 10 frames, scenes 8 or 10 views, single images one view
    to five tiles, and text is lognormal around 90 tokens.
    """
    expected = {entry.domain: 0.0 for entry in TABLE.values()}
    for entry in TABLE.values():
        expected[entry.domain] += entry.expected
    domains, weights = list(expected), np.array(list(expected.values()))
    drawn = []
    for domain in rng.choice(domains, count, p=weights / weights.sum()):
        text = int(np.clip(rng.lognormal(4.5, 0.9), 12, 3000))
        views = {
            "multi_image": lambda: int(np.clip(2 + rng.geometric(0.5) - 1, 2, 8)),
            "multi_frame": lambda: 10,
            "multi_view": lambda: int(rng.choice([8, 10])),
            "multi_patch": lambda: int(rng.choice([3, 4, 5], p=[0.35, 0.15, 0.5])),
        }[str(domain)]()
        drawn.append((views * TOKENS + text, views))
    return drawn


def example(tokens: int, views: int) -> Example:
    pixels = torch.empty(views, 0)
    return Example(torch.empty(tokens, 0), torch.empty(0), torch.empty(0), [Visual("image", pixels, [])])


def run(length: int, rows: int, lookahead: float, batches: int = 300, world: int = 8) -> tuple[float, float, float, float]:
    """Share of real tokens; and of tokens and of views, the mean over steps of the fullest rank over the average one."""
    packers, samples = [Packer(rows, length, 10_000, lookahead) for _ in range(world)], 0
    supply = iter(lengths(batches * world * rows * length // 2000 + 2000, np.random.default_rng(0)))
    tokens, views = np.zeros((batches, world)), np.zeros((batches, world))
    started = time.perf_counter()
    for step in range(batches):
        for rank, packer in enumerate(packers):
            while not packer.full:
                samples += 1
                packer.add(samples, example(*next(supply)))
            taken = [e for row in packer.take() for e in row]
            tokens[step, rank], views[step, rank] = sum(len(e.ids) for e in taken), sum(e.views for e in taken)
    seconds = time.perf_counter() - started
    even = [float(np.mean(x.max(1) / x.mean(1))) for x in (tokens, views)]
    return float(tokens.mean() / (rows * length)), *even, samples / seconds


def main() -> None:
    print("| row | rows | lookahead | real tokens | tokens: fullest rank | views: fullest rank | samples/s |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for length, rows in ((16_384, 1), (16_384, 2), (32_768, 1)):
        for lookahead in (1.5, 4, 8):
            real, t, v, speed = run(length, rows, lookahead)
            print(f"| {length} | {rows} | {lookahead} | {real:.3f} | {t:.3f} | {v:.3f} | {speed:.0f} |")


if __name__ == "__main__":
    main()
