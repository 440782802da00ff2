"""Samples to packed batches: loader workers, replacements for bad samples, and the place to resume from."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ..core.collectives import global_rank, world_size
from ..core.errors import BadSample, InputError
from ..core.types import Batch, Example
from ..processing.collate import collate
from ..processing.over_length import Room
from .example_source import QUARANTINED, Source
from .ledger import Entry, Ledger
from .mixture import Mixture, Walk
from .packing import Packer


@dataclass(frozen=True)
class Budget:
    """What one batch may hold: ``batch_size`` rows of ``sequence_length`` tokens, ``max_views`` in all.

    lookahead: batches' worth of examples that wait for the packer to choose from.
    """

    sequence_length: int
    batch_size: Annotated[int, Field(ge=1)] = 1
    max_views: int = 64
    lookahead: Annotated[float, Field(ge=1)] = 4.0


class Item(NamedTuple):
    """What a worker is asked for."""

    place: int
    source: int
    number: int


class _Rendered(TorchDataset[Example | InputError]):
    """What DataLoader's workers run. ``cache`` keeps examples, for small sets that are read many times."""

    def __init__(self, source: Source, names: list[str], cache: bool) -> None:
        self.source, self.names, self.cache = source, names, cache
        self.kept: dict[tuple[int, int], Example | InputError] = {}

    def __getitem__(self, item: Any) -> Example | InputError:
        key = (item.source, item.number)
        if key in self.kept:
            return self.kept[key]
        example = self.source.example(self.names[item.source], item.number)
        if self.cache:
            self.kept[key] = example
        return example


class PackedLoader:
    """One rank's batches. Endless in training; where ``seed`` is None, one pass in order, the same on every rank.

    The cursor of a batch says how far this rank had come and which samples were waiting in the packer, so that a
    resumed run makes the same batches.
    """

    def __init__(
        self,
        source: Source,
        budget: Budget,
        seed: int | None,
        num_workers: int = 0,
        cache: bool = False,
        ledger: Ledger | None = None,
    ) -> None:
        self.source = source if source.room else replace(source, room=Room(budget.sequence_length, budget.max_views))
        self.budget, self.num_workers = budget, num_workers
        self.mixture = Mixture(source.supplies(), seed)
        self.rendered = _Rendered(self.source, self.mixture.names, cache)
        self.ledger = ledger or Ledger()
        self.cursor: Mapping[str, Any] = {"next": 0, "ahead": {}, "waiting": [], "seen": (0, 0), "ledger": 0, "read": 0}

    def refer(self, reference: Callable[[Example], tuple[float, float]]) -> None:
        """From now on pairs come with the log-probabilities that ``reference`` knows."""
        self.source = replace(self.source, reference=reference)
        self.rendered = _Rendered(self.source, self.mixture.names, self.rendered.cache)

    def __iter__(self) -> Iterator[Batch]:
        # unequal numbers of validation batches would leave FSDP's collectives waiting
        rank, world = (0, 1) if self.mixture.seed is None else (global_rank(), world_size())
        for rows, cursor in self._taken(_Feed(self, rank, world)):
            yield collate(rows, self.budget.sequence_length, self.source.vision, cursor)

    def packed(self) -> Iterator[list[list[Example]]]:
        """The same rows as examples, for looking at them."""
        return (rows for rows, _ in self._taken(_Feed(self, global_rank(), world_size())))

    def _taken(self, feed: "_Feed") -> Iterator[tuple[list[list[Example]], dict[str, Any]]]:
        packer = Packer(
            self.budget.batch_size, self.budget.sequence_length, self.budget.max_views, self.budget.lookahead
        )
        try:
            for place, example in feed.waiting():
                packer.add(place, example)
            packer.seen, self.ledger.read = self.cursor["seen"], self.cursor["read"]  # what waited is among them
            while True:
                while not packer.full and (drawn := feed.draw()) is not None:
                    packer.add(*drawn)
                if not packer.waiting:
                    return
                rows = packer.take()
                held = {"waiting": [place for place, _ in packer.waiting], "seen": packer.seen}
                known = {"ledger": len(self.ledger.entries), "read": self.ledger.read}
                yield rows, {**feed.cursor(), **held, **known}
        finally:
            feed.close()


class _Feed:
    """Draws of one rank, each with a sample that can be used.

    Workers are asked ahead of time for what draws will need if nothing is bad. Items come back in the order in which
    they were asked for, so the k-th draw of a source gets its k-th usable sample however many workers there are.
    """

    def __init__(self, loader: PackedLoader, rank: int, world: int) -> None:
        cursor, mixture = loader.cursor, loader.mixture
        self.mixture, self.ledger, self.source = mixture, loader.ledger, loader.source
        numbers = {name: i for i, name in enumerate(mixture.names)}
        ahead = {numbers[name]: place for name, place in cursor["ahead"].items()}
        self.after = int(cursor["next"])
        self.drawn = Walk(mixture, rank, world, self.after)
        self.asked = Walk(mixture, rank, world, self.after, dict(ahead))
        self.again = list(cursor["waiting"])
        self.bounds: dict[int, int] = dict(ahead)
        self.owed: deque[int] = deque()
        self.open: deque[Item] = deque()
        self.ready: list[deque[tuple[Item, Example | InputError]]] = [deque() for _ in mixture.names]
        self.unusable: list[set[int]] = [set() for _ in mixture.names]
        self.usable = [False] * len(mixture.names)
        self.draws = self.drawn.draws()
        results = DataLoader(
            loader.rendered,
            batch_size=None,
            sampler=_Requests(self),
            num_workers=loader.num_workers,
            collate_fn=_same,
            generator=torch.Generator(),  # else it would take numbers from the one that dropout uses
        )
        self.results: Iterator[Example | InputError] = iter(results)

    def requests(self) -> Iterator[Item]:
        """What workers are asked for, in order: what waited, then the draws, and what is owed for bad ones at once."""
        yield from (self._ask(place) for place in self.again)
        for source in self.asked.draws():
            yield self._ask(self.asked.take(source))
            while self.owed:
                yield self._ask(self.asked.more(self.owed.popleft()))

    def waiting(self) -> Iterator[tuple[int, Example]]:
        """The samples that were waiting when the run was interrupted."""
        for _ in self.again:
            item, result = self._receive()
            if isinstance(result, Example):
                self._use(item, result)
                yield item.place, result
            else:
                self._lose(item, result, "left out")

    def draw(self) -> tuple[int, Example] | None:
        """The next draw's place and sample; None at the end of a single pass."""
        for source in self.draws:
            while True:
                if not self.ready[source] and not self._fetch():
                    break
                if not self.ready[source]:
                    continue
                item, result = self.ready[source].popleft()
                self.bounds[source] = item.place + 1
                if isinstance(result, Example):
                    self._use(item, result)
                    self.after = self.drawn.next + self.drawn.world
                    return item.place, result
                single = self.mixture.seed is None
                self._lose(item, result, "left out" if single else "replaced")
                if single:
                    break
        return None

    def close(self) -> None:
        """End the workers now; the sampler knows this object, so that they would live until a garbage collection."""
        self.results = iter(())

    def cursor(self) -> dict[str, Any]:
        """Where the draws stand."""
        names = self.mixture.names
        return {"next": self.after, "ahead": {names[s]: b for s, b in self.bounds.items() if b > self.after}}

    def _ask(self, place: int) -> Item:
        item = Item(place, self.mixture.source(place), self.mixture.index(place))
        self.open.append(item)
        return item

    def _receive(self) -> tuple[Item, Example | InputError]:
        result = next(self.results)
        return self.open.popleft(), result

    def _fetch(self) -> bool:
        """Take one result from the workers; False where there is none left."""
        try:
            item, result = self._receive()
        except StopIteration:
            return False
        if isinstance(result, InputError) and self.mixture.seed is not None:
            self.owed.append(item.source)
        self.ready[item.source].append((item, result))
        return True

    def _use(self, item: Item, example: Example) -> None:
        self.ledger.read += 1
        self.usable[item.source] = True
        if example.notes:
            name = self.mixture.names[item.source]
            self.ledger.note(name, item.number, self.source.datasets[name].id(item.number), example.notes)

    def _lose(self, item: Item, error: InputError, action: str) -> None:
        """Raises InputError for an error that no sample can help, and where a whole source cannot be used."""
        if not isinstance(error, BadSample):
            raise error
        name, size = self.mixture.names[item.source], self.mixture.supplies[item.source].size
        if error.reason != QUARANTINED:
            self.ledger.read += 1
            called = self.source.datasets[name].id(item.number)
            self.ledger.add(Entry(name, item.number, called, error.reason, error.message, action))
        if self.usable[item.source] or self.mixture.seed is None:
            return
        self.unusable[item.source].add(item.number)
        if len(self.unusable[item.source]) == size:
            raise InputError(f"none of the {size} samples of {name} can be used. {self.ledger.summary()}")


class _Requests:
    """A sampler, as DataLoader calls it."""

    def __init__(self, feed: _Feed) -> None:
        self.feed = feed

    def __iter__(self) -> Iterator[Item]:
        return self.feed.requests()


def _same(item: Any) -> Any:
    return item
