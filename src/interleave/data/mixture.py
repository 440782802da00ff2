"""The order in which samples are read: the only place that knows which draw takes which sample of which source.

Every number here follows from sizes, weights and a seed. So all workers and ranks agree without communication, and a
run continues at any place without walking there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from .cursor import RankProgress

WINDOW = 16
"""Chunks whose samples are shuffled among each other, and so the number that a reader keeps open at a time."""
LOOKED_AT = 1024
"""Places of a source that are looked at together for the next one of a rank."""

Numbers = NDArray[np.int64]


class Signature(TypedDict):
    """What must be equal for a run to continue.

    seed: of the order.
    sources: name -> [samples, draws an epoch].
    """

    seed: int | None
    sources: dict[str, list[int]]


@dataclass(frozen=True)
class Supply:
    """What the mixture must know of a source.

    size: how many samples it has.
    weight: how often an epoch of the mixture reads each sample, on average.
    chunks: lengths of runs of samples that are cheap to read together, such as shards; empty where any order is cheap.
    """

    size: int
    weight: float = 1.0
    chunks: tuple[int, ...] = ()

    @property
    def quota(self) -> int:
        """Draws from it in an epoch."""
        return max(1, round(self.weight * self.size))


class Mixture:
    """An endless order over several sources, epoch after epoch, or one pass in plain order where ``seed`` is None.

    A *place* is a position in the order; it belongs to one source and one sample for good. In every epoch each source
    has its quota of places, shuffled among all others, so that with weights of 1 an epoch is a permutation of all
    samples. A source walks through its own permutations, one after another: nothing is read twice before all is read.

    names, supplies, quotas: of the sources that have samples, by number.
    total: places of an epoch.
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
        self.quotas = [supply.size if seed is None else supply.quota for supply in self.supplies]
        self.total = sum(self.quotas)
        # two epochs are in use at a border, and a third where replacements run ahead; two orders a source, likewise
        self._epoch = lru_cache(maxsize=3)(self._make_epoch)
        self._order = lru_cache(maxsize=2 * len(self.names))(self._make_order)

    def source(self, place: int) -> int:
        """The number of the source that ``place`` belongs to."""
        epoch, rest = divmod(place, self.total)  # rest: position within the epoch
        sources, _ = self._epoch(epoch)
        return int(sources[rest])

    def index(self, place: int) -> int:
        """Which sample of its source ``place`` is."""
        epoch, rest = divmod(place, self.total)
        source = self.source(place)
        _, places = self._epoch(epoch)
        # how many draws of this source came before, in all epochs; each pass over the source takes ``size`` of them
        ordinal = epoch * self.quotas[source] + int(np.searchsorted(places[source], rest))
        size = self.supplies[source].size
        return int(self._order(source, ordinal // size)[ordinal % size])

    def next_place(self, source: int, place: int, rank: int, world: int) -> int:
        """The first place of ``source``, at or after ``place``, that is one of the rank's: rank, rank + world, ..."""
        epoch, rest = divmod(place, self.total)
        while True:
            places = self._epoch(epoch)[1][source]  # (quota,) ascending, within the epoch
            # piece by piece: of all places of a large source, one of the next few is the rank's
            for start in range(int(np.searchsorted(places, rest)), len(places), LOOKED_AT):
                later = places[start : start + LOOKED_AT]
                # whose place it is depends on its position in the whole order, not in the epoch
                mine = later[(later + epoch * self.total) % world == rank]
                if len(mine):
                    return epoch * self.total + int(mine[0])
            epoch, rest = epoch + 1, 0  # none left in this epoch

    def signature(self) -> Signature:
        """Sizes, quotas and the seed, which decide the whole order."""
        sources: dict[str, list[int]] = {}
        for name, supply, quota in zip(self.names, self.supplies, self.quotas, strict=True):
            sources[name] = [supply.size, quota]
        return {"seed": self.seed, "sources": sources}

    def _make_epoch(self, epoch: int) -> tuple[NDArray[np.int16], list[Numbers]]:
        """The source of every place of an epoch, (total,), and the places of every source, each ascending."""
        sources = np.repeat(np.arange(len(self.names), dtype=np.int16), self.quotas)  # (total,)
        if self.seed is not None:  # the third number keeps these draws apart from those of _make_order
            np.random.default_rng([self.seed, epoch, 0]).shuffle(sources)
        # a stable sort lists the places of source 0, then those of source 1, and so on
        places = np.split(np.argsort(sources, kind="stable"), np.cumsum(self.quotas)[:-1])
        return sources, places

    def _make_order(self, source: int, epoch: int) -> NDArray[np.int32]:
        """A permutation of a source's samples, (size,): what its pass number ``epoch`` reads.

        Of a source with chunks, chunks are shuffled, and then samples within every ``WINDOW`` of them.
        """
        supply = self.supplies[source]
        order = np.arange(supply.size, dtype=np.int32)  # (size,)
        if self.seed is None:
            return order
        rng = np.random.default_rng([self.seed, epoch, 1, source])
        if len(supply.chunks) <= 1:  # any order is cheap
            return rng.permutation(order)
        chunks = np.split(order, np.cumsum(supply.chunks)[:-1])
        # a reader goes from window to window, and has the chunks of only one open
        shuffled = [chunks[i] for i in rng.permutation(len(chunks))]
        windows = [np.concatenate(shuffled[i : i + WINDOW]) for i in range(0, len(shuffled), WINDOW)]
        return np.concatenate([rng.permutation(window) for window in windows])


@dataclass
class Walk:
    """One rank's way through a mixture: every ``world``-th draw is its own.

    A sample that cannot be used is replaced by the next of the same source that falls to this rank; from then on the
    rank is ahead in that source.

    next: place of the present draw.
    ahead: number of a source -> the place before which all of this rank's are used up.
    """

    mixture: Mixture
    rank: int = 0
    world: int = 1
    next: int = 0
    ahead: dict[int, int] = field(default_factory=dict)

    def draws(self) -> Iterator[int]:
        """The source of each draw in turn. The walk has passed a draw once it is asked for the one after it."""
        self.next += (self.rank - self.next) % self.world  # the first place of this rank from here on
        while self.mixture.seed is not None or self.next < self.mixture.total:
            yield self.mixture.source(self.next)
            self.next += self.world

    def take(self, source: int) -> int:
        """The place that the present draw of ``source`` takes: its own, where the rank is not ahead."""
        return self.next if self.ahead.get(source, 0) <= self.next else self.more(source)

    def more(self, source: int) -> int:
        """One more place of ``source`` than there are draws: the rank is ahead from here on."""
        start = max(self.ahead.get(source, 0), self.next + 1)
        place = self.mixture.next_place(source, start, self.rank, self.world)
        self.ahead[source] = place + 1
        return place


def regroup(mixture: Mixture, progress: Sequence[RankProgress]) -> tuple[int, list[int]]:
    """How to go on with another number of ranks, so that no sample is read twice and none is lost.

    progress: of all ranks of the interrupted run, in rank order.

    Returns the first place that no rank has reached, and the places before it that are still unused, ascending.
    """
    world = len(progress)
    # (world, sources) the place before which all of a rank's places of a source are used up
    bounds = np.zeros((world, len(mixture.names)), dtype=np.int64)
    for rank, mine in enumerate(progress):
        for source, name in enumerate(mixture.names):
            bounds[rank, source] = max(mine["next"], mine["ahead"].get(name, 0))
    first_open = min(int(mine["next"]) for mine in progress)
    end = int(bounds.max())
    # a place belongs to the rank that it was dealt out to: place % world
    unused = [place for place in range(first_open, end) if place >= bounds[place % world, mixture.source(place)]]
    for mine in progress:
        unused += mine["waiting"]
    return end, sorted(unused)
