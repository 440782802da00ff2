"""The order in which samples are read: the only place that knows which draw takes which sample of which source.

Every number here follows from sizes, weights and a seed, so that all workers and ranks agree without a word, and a run
continues at any place without walking there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError

WINDOW = 16
"""Chunks whose samples are shuffled among each other: a reader keeps so many open at a time."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Supply:
    """What the mixture must know of a source. ``chunks``: lengths of runs of samples that are cheap to read together.

    weight: how often an epoch of the mixture reads each sample, on average.
    """

    size: int
    weight: float = 1.0
    chunks: tuple[int, ...] = ()

    @property
    def quota(self) -> int:
        """Draws an epoch."""
        return max(1, round(self.weight * self.size))


class Mixture:
    """An endless order over several sources, epoch after epoch, or one pass in plain order where ``seed`` is None.

    A *place* is a position in the order; it belongs to one source and one sample for good. In every epoch each source
    has its quota of places, shuffled among all others, so that with weights of 1 an epoch is a permutation of all
    samples. A source walks through its own permutations, one after another: nothing is read twice before all is read.
    """

    def __init__(self, supplies: Mapping[str, Supply], seed: int | None) -> None:
        """Raises InputError where there is nothing to read, or a weight is no positive number."""
        for name, supply in supplies.items():
            if not supply.weight > 0 or not np.isfinite(supply.weight):
                raise InputError(f"the weight of {name} is {supply.weight}; it must be above 0. Leave it out instead")
        self.names = [name for name, supply in supplies.items() if supply.size]
        self.supplies = [supplies[name] for name in self.names]
        if not self.names:
            raise InputError(f"no samples in {', '.join(supplies) or 'any data set'}; choose dataset=[...]")
        self.seed = seed
        quotas = [s.size if seed is None else s.quota for s in self.supplies]
        self.quotas, self.total = quotas, sum(quotas)
        self._epoch = lru_cache(maxsize=3)(self._make_epoch)
        self._order = lru_cache(maxsize=2 * len(self.names))(self._make_order)

    def source(self, place: int) -> int:
        """The number of the source that ``place`` belongs to."""
        epoch, rest = divmod(place, self.total)
        return int(self._epoch(epoch)[0][rest])

    def index(self, place: int) -> int:
        """Which sample of its source ``place`` is."""
        epoch, rest = divmod(place, self.total)
        source = self.source(place)
        size, quota = self.supplies[source].size, self.quotas[source]
        ordinal = epoch * quota + int(np.searchsorted(self._epoch(epoch)[1][source], rest))
        return int(self._order(source, ordinal // size)[ordinal % size])

    def following(self, source: int, place: int, rank: int, world: int) -> int:
        """The first place of ``source`` at or after ``place`` that falls to ``rank``."""
        epoch, rest = divmod(place, self.total)
        while True:
            places = self._epoch(epoch)[1][source]
            later = places[np.searchsorted(places, rest) :]
            mine = later[(later + epoch * self.total) % world == rank]
            if len(mine):
                return epoch * self.total + int(mine[0])
            epoch, rest = epoch + 1, 0

    def signature(self) -> dict[str, Any]:
        """What must be equal for a run to continue."""
        sizes = {n: [s.size, q] for n, s, q in zip(self.names, self.supplies, self.quotas, strict=True)}
        return {"seed": self.seed, "sources": sizes}

    def _make_epoch(self, epoch: int) -> tuple[NDArray[np.int16], list[Numbers]]:
        """The source of every place, and the places of every source."""
        sources = np.repeat(np.arange(len(self.names), dtype=np.int16), self.quotas)
        if self.seed is not None:
            np.random.default_rng([self.seed, epoch, 0]).shuffle(sources)
        places = np.split(np.argsort(sources, kind="stable"), np.cumsum(self.quotas)[:-1])
        return sources, places

    def _make_order(self, source: int, epoch: int) -> NDArray[np.int32]:
        supply = self.supplies[source]
        order = np.arange(supply.size, dtype=np.int32)
        if self.seed is None:
            return order
        rng = np.random.default_rng([self.seed, epoch, 1, source])
        if len(supply.chunks) <= 1:
            return rng.permutation(order)
        runs = np.split(order, np.cumsum(supply.chunks)[:-1])
        shuffled = [runs[i] for i in rng.permutation(len(runs))]
        windows = [np.concatenate(shuffled[i : i + WINDOW]) for i in range(0, len(shuffled), WINDOW)]
        return np.concatenate([rng.permutation(window) for window in windows])


@dataclass
class Walk:
    """One rank's way through a mixture: every ``world``-th draw is its own.

    A sample that cannot be used is replaced by the next of the same source that falls to this rank; from then on the
    rank is ahead in that source. ``ahead``: all places of a source below its number are used up.
    """

    mixture: Mixture
    rank: int = 0
    world: int = 1
    next: int = 0
    ahead: dict[int, int] = field(default_factory=dict)

    def draws(self) -> Iterator[int]:
        """The source of each draw in turn. The walk has passed a draw once it is asked for the one after it."""
        self.next += (self.rank - self.next) % self.world
        while self.mixture.seed is not None or self.next < self.mixture.total:
            yield self.mixture.source(self.next)
            self.next += self.world

    def take(self, source: int) -> int:
        """The place that the present draw of ``source`` takes: its own, where the rank is not ahead."""
        return self.next if self.ahead.get(source, 0) <= self.next else self.more(source)

    def more(self, source: int) -> int:
        """One more place of ``source`` than there are draws: the rank is ahead from here on."""
        start = max(self.ahead.get(source, 0), self.next + 1)
        place = self.mixture.following(source, start, self.rank, self.world)
        self.ahead[source] = place + 1
        return place


def regroup(mixture: Mixture, cursors: Sequence[Mapping[str, Any]]) -> tuple[int, list[int]]:
    """Where ranks in another number go on: the first place that nobody has reached, and the unused ones before it."""
    world = len(cursors)
    bounds = np.array([[max(c["next"], c["ahead"].get(name, 0)) for name in mixture.names] for c in cursors])
    low, high = min(int(c["next"]) for c in cursors), int(bounds.max())
    left = [p for p in range(low, high) if p >= bounds[p % world, mixture.source(p)]]
    waiting = [p for c in cursors for p in c["waiting"]]
    return high, sorted([*waiting, *left])
