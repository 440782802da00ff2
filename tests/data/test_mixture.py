"""The order of samples: shares, permutations, ranks, replacements and what is left for another number of ranks."""

from collections import Counter
from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import interleave as il
from interleave.data.mixture import Mixture, Supply, Walk, regroup

SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=4)


def mixture(sizes: list[int], seed: int | None = 3) -> Mixture:
    return Mixture({f"s{i}": Supply(n) for i, n in enumerate(sizes)}, seed)


def samples(mix: Mixture, places: range | list[int]) -> list[tuple[int, int]]:
    return [(mix.source(p), mix.index(p)) for p in places]


@given(SIZES, st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_an_epoch_reads_every_sample_once_and_the_next_in_another_order(sizes: list[int], seed: int) -> None:
    mix = mixture(sizes, seed)
    everything = Counter((s, i) for s, n in enumerate(sizes) for i in range(n))
    epochs = [samples(mix, range(e * mix.total, (e + 1) * mix.total)) for e in range(3)]
    assert all(Counter(epoch) == everything for epoch in epochs)
    if len(everything) > 6:
        assert len({tuple(epoch) for epoch in epochs}) > 1


def test_weights_are_passes_an_epoch_and_nothing_is_read_twice_before_all_is_read_once() -> None:
    mix = Mixture({"half": Supply(10, 0.5), "double": Supply(6, 2), "one": Supply(4)}, 1)
    assert mix.quotas == [5, 12, 4]
    two = samples(mix, range(2 * mix.total))
    halves = [i for s, i in two if s == 0]
    assert sorted(halves) == list(range(10))
    assert Counter(i for s, i in two[: mix.total] if s == 1) == dict.fromkeys(range(6), 2)


def test_sources_are_mixed_throughout() -> None:
    mix = mixture([500, 500])
    tenths = [sum(mix.source(p) for p in range(t * 100, (t + 1) * 100)) for t in range(10)]
    assert all(30 < count < 70 for count in tenths), tenths


def test_chunks_are_read_close_together() -> None:
    chunks = [50] * 40
    order = samples(Mixture({"a": Supply(2000, chunks=tuple(chunks))}, 0), range(2000))
    assert sorted(i for _, i in order) == list(range(2000))
    open_chunks = [len({i // 50 for _, i in order[start : start + 800]}) for start in (0, 800, 1200)]
    assert open_chunks[0] == 16
    assert [i for _, i in order[:50]] != list(range(order[0][1], order[0][1] + 50))


def test_one_pass_is_in_plain_order() -> None:
    mix = mixture([3, 2], seed=None)
    assert samples(mix, range(5)) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_weights_must_be_above_zero(weight: float) -> None:
    with pytest.raises(il.InputError, match="the weight of a is"):
        Mixture({"a": Supply(3, weight)}, 0)


def test_no_samples_at_all() -> None:
    with pytest.raises(il.InputError, match="no samples in a; choose dataset"):
        Mixture({"a": Supply(0)}, 0)


@pytest.mark.parametrize("piece", [1, 3, 1024])
@given(SIZES, st.sampled_from([1, 2, 3, 8]), st.integers(0, 999))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ranks_share_the_order_out_also_where_one_must_replace(
    monkeypatch: pytest.MonkeyPatch, piece: int, sizes: list[int], world: int, chance: int
) -> None:
    """Every rank walks its own places in order, each once, whatever it asks for in addition.

    piece: places looked at together, fewer than a source has or more.
    """
    monkeypatch.setattr("interleave.data.mixture.LOOKED_AT", piece)
    mix, draw = mixture(sizes), Random(chance)
    for rank in range(world):
        walk, taken = Walk(mix, rank, world), Counter[tuple[int, int]]()
        for source in islice(walk.draws(), 30):
            found = [walk.take(source)]
            while draw.random() < 0.25:
                found.append(walk.more(draw.randrange(len(sizes))))
            taken.update((mix.source(p), p) for p in found)
        assert set(taken.values()) == {1}, "no place is taken twice"
        for source in range(len(sizes)):
            mine = sorted(p for s, p in taken if s == source)
            last = mine[-1] if mine else -1
            assert mine == [p for p in range(rank, last + 1, world) if mix.source(p) == source], "none is passed over"


@given(SIZES, st.sampled_from([1, 2, 3, 8]), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_another_number_of_ranks_takes_what_is_left(sizes: list[int], world: int, chance: int) -> None:
    mix, draw, used = mixture(sizes), Random(chance), Counter[int]()
    cursors: list[dict[str, Any]] = []
    for rank in range(world):
        walk, places = Walk(mix, rank, world), []
        steps = draw.randint(1, 25)
        for source in islice(walk.draws(), steps):
            places.append(walk.take(source))
            if draw.random() < 0.5:
                places.append(walk.more(source))
        after = rank + steps * world
        waiting = places[: draw.randint(0, 3)]
        used.update(set(places) - set(waiting))
        ahead = {mix.names[s]: place for s, place in walk.ahead.items() if place > after}
        cursors.append({"next": after, "ahead": ahead, "waiting": waiting})
    start, left = regroup(mix, cursors)
    assert used + Counter(left) == Counter(range(start))


def test_a_million_samples_in_no_time() -> None:
    """What a resumed run does first: the place, its source and sample, deep in the second epoch."""
    mix = Mixture({f"s{i}": Supply(30_000) for i in range(41)}, 0)
    place = mix.total + 1_000_000
    assert mix.index(mix.next_place(mix.source(place), place, 0, 1)) == mix.index(place)
