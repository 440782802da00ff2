"""How long samples are, seen by rendering a few of each source, and how full the rows are that they make."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..core.errors import BadSample, InputError
from ..core.types import IGNORE, Example, Visual
from ..costs.work import Quantities
from ..data.budget import Budget
from ..data.example_source import ExampleSource
from ..data.packing import Packer

BATCHES = 40
"""Batches that are packed of what was seen."""


@dataclass(frozen=True)
class SourceSample:
    """What was seen of a source.

    draws: samples that an epoch takes of it.
    examples: those that were rendered, without their pixels.
    lost: how many of those looked at cannot be used.
    """

    draws: int
    examples: Sequence[Example]
    lost: int = 0

    def mean(self, number: str) -> float:
        """Of ``tokens``, ``views`` or ``learned`` tokens of an example; 0 where none was seen."""
        counts = {"tokens": _num_tokens, "views": lambda e: e.views, "learned": _num_learned}
        return float(np.mean([counts[number](e) for e in self.examples])) if self.examples else 0.0


@dataclass(frozen=True)
class PackedBatch:
    """A batch of one device, on average.

    quantities: what its work is counted by. samples: in it. filled: share of its tokens that is no padding.
    """

    quantities: Quantities
    samples: float
    filled: float


@dataclass(frozen=True)
class Survey:
    """All that was seen of the data.

    sources: by name. seconds: that rendering one sample took in one process, on average; 0 where none was rendered.
    """

    sources: Mapping[str, SourceSample]
    seconds: float


def look(source: ExampleSource, samples: int, seconds: float) -> Survey:
    """Render up to ``samples`` of each source, spread over it, one of each source in turn, until ``seconds`` are over.

    Raises InputError where no sample could be rendered at all.
    """
    supplies = source.supplies()
    seen: dict[str, list[Example]] = {name: [] for name in supplies}
    lost = dict.fromkeys(supplies, 0)
    start, rendered = time.perf_counter(), 0
    for turn in range(samples):
        for name, supply in supplies.items():
            if turn >= min(samples, supply.size) or (rendered and time.perf_counter() - start > seconds):
                continue
            result = source.example(name, turn * supply.size // min(samples, supply.size))
            rendered += 1
            if isinstance(result, Example):
                seen[name].append(_without_pixels(result))
            elif isinstance(result, BadSample):
                lost[name] += 1
            else:
                raise result
    if not any(seen.values()):
        raise InputError(f"none of the {rendered} samples looked at can be used")
    took = (time.perf_counter() - start) / rendered
    found = {name: SourceSample(supplies[name].quota, seen[name], lost[name]) for name in supplies}
    return Survey({name: sample for name, sample in found.items() if supplies[name].size}, took)


def assumed(tokens: int, views: int, learned: float) -> Survey:
    """As if all samples were of these sizes. learned: share of the tokens."""
    labels = torch.full((tokens,), IGNORE)
    labels[tokens - round(learned * tokens) :] = 0
    shown = Visual("", torch.empty(views, 3, 0, 0), [])
    example = Example(torch.zeros(tokens, dtype=torch.long), labels, torch.zeros(0, dtype=torch.long), [shown])
    return Survey({"assumed": SourceSample(0, [example])}, 0.0)


def packed_batch(survey: Survey, budget: Budget, seed: int = 0) -> PackedBatch:
    """Batches as the packer makes them of the samples seen, drawn as often as an epoch draws from their sources."""
    seen = [sample for sample in survey.sources.values() if sample.examples]
    shares = np.array([max(1, sample.draws) for sample in seen], float)
    generator = np.random.default_rng(seed)
    packer = Packer(budget.batch_size, budget.sequence_length, budget.max_views, budget.lookahead)
    total, samples, rows = Quantities(0, 0, 0, 0), 0, 0
    for _ in range(BATCHES):
        while not packer.full:
            drawn = seen[int(generator.choice(len(seen), p=shares / shares.sum()))]
            packer.add(0, drawn.examples[int(generator.integers(len(drawn.examples)))])
        batch = packer.take()
        rows += budget.batch_size
        for example in (example for row in batch for example in row):
            total, samples = total + _quantities(example), samples + 1
    mean = Quantities(*(value / BATCHES for value in (total.tokens, total.squares, total.supervised, total.views)))
    return PackedBatch(mean, samples / BATCHES, total.tokens / (rows * budget.sequence_length))


def _without_pixels(example: Example) -> Example:
    visuals = [replace(visual, pixel_values=visual.pixel_values.to("meta")) for visual in example.visuals]
    return replace(example, visuals=visuals)


def _num_tokens(example: Example) -> int:
    return len(example.input_ids)


def _num_learned(example: Example) -> int:
    return int((example.labels >= 0).sum())


def _quantities(example: Example) -> Quantities:
    lengths = example.documents or (_num_tokens(example),)
    squares = sum(length**2 for length in lengths)
    return Quantities(sum(lengths), squares, _num_learned(example), example.views)
