"""Which examples fill a row: never worse than any other choice, alike in views, and the same on every rank."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interleave.core.types import Example, Visual
from interleave.data.budget import Load
from interleave.data.packing import Packer
from interleave.data.row_filling import CHOICE, filled

LOADS = st.lists(st.builds(Load, st.integers(1, 40), st.integers(0, 5)), max_size=9)


@given(LOADS, st.integers(1, 60), st.integers(0, 9), st.integers(-2, 12), st.integers(0, 10))
@settings(max_examples=200, deadline=None)
def test_no_other_choice_is_better(loads: list[Load], tokens: int, views: int, due: int, slack: int) -> None:
    chosen = filled(loads, Load(tokens, views), due, slack)
    sizes = [load.as_tuple() for load in loads]
    assert chosen == sorted(set(chosen))
    every = [
        (sum(sizes[i][0] for i in some), sum(sizes[i][1] for i in some))
        for n in range(len(sizes) + 1)
        for some in combinations(range(len(sizes)), n)
    ]
    possible = [(t, v) for t, v in every if t <= tokens and v <= views]
    fullest = max(t for t, _ in possible)
    found = sum(sizes[i][0] for i in chosen), sum(sizes[i][1] for i in chosen)
    assert found in possible
    if len(chosen) < sum(t <= tokens and v <= views for t, v in sizes):  # all that fit alone, and together, are taken
        enough = [(t, v) for t, v in possible if t >= fullest - slack]
        assert found in enough
        assert abs(found[1] - due) == min(abs(v - due) for _, v in enough)


def test_more_examples_than_are_searched_at_a_time_still_fill_a_row() -> None:
    loads = [Load(3, 0)] * (3 * CHOICE) + [Load(5, 1), Load(7, 1)]
    chosen = filled(loads, Load(3 * 2 * CHOICE + 7, 9), 0, 0)
    assert chosen[: 2 * CHOICE] == list(range(2 * CHOICE)), "the first ones first"
    assert sum(loads[i].tokens for i in chosen) >= 3 * 2 * CHOICE + 6


def example(tokens: int, views: int) -> Example:
    none = torch.zeros(0, dtype=torch.long)
    visuals = [Visual("image", torch.zeros(views, 0), [])] if views else []
    return Example(torch.zeros(tokens, dtype=torch.long), none, none, visuals)


def interleaved(count: int, pooled: bool) -> list[tuple[int, int]]:
    """Tokens and views of pictures, clips and scenes beside text, as an instruction mix has them at 729 tokens a view.

    pooled: clips have 196 tokens a view, so that equal tokens are no longer nearly equal views.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for kind in rng.choice(3, count, p=[0.4, 0.25, 0.35]):
        views = int((2 + rng.geometric(0.5) - 1, 10, rng.choice([3, 4, 5]))[kind])
        text = int(np.clip(rng.lognormal(4.5, 0.9), 12, 3000))
        drawn.append((min(views, 12) * (196 if pooled and kind == 1 else 729) + text, min(views, 12)))
    return drawn


@pytest.mark.parametrize(("pooled", "uneven"), [(False, 1.03), (True, 1.2)])
def test_ranks_fill_rows_of_16k_and_are_alike(pooled: bool, uneven: float) -> None:
    """At least 97% of tokens are real, and the fullest of eight ranks is little above their mean."""
    world, steps = 8, 60
    supply = iter(interleaved(40_000, pooled))
    packers = [Packer(1, 16_384, 64, 4.0) for _ in range(world)]
    tokens, views = np.zeros((steps, world)), np.zeros((steps, world))
    for step in range(steps):
        for rank, packer in enumerate(packers):
            while not packer.full:
                packer.add(step, example(*next(supply)))
            (row,) = packer.take()
            tokens[step, rank], views[step, rank] = sum(len(e.input_ids) for e in row), sum(e.views for e in row)
    assert tokens.mean() / 16_384 > 0.98
    assert (tokens.max(1) / tokens.mean(1)).mean() < 1.02
    assert (views.max(1) / views.mean(1)).mean() < uneven
