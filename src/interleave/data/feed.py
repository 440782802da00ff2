"""The draws of one rank: loader workers, the order in which they are asked, and replacements for bad samples."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ..core.errors import BadSample, InputError
from ..core.types import Example
from .cursor import RankProgress
from .example_buffer import packed, unpacked
from .example_source import QUARANTINED, ExampleSource, sample_id
from .ledger import Entry, Ledger
from .mixture import Mixture, Walk
from .worker_deaths import watch_workers

T = TypeVar("T")


class RequestedSample(NamedTuple):
    """What a worker is asked for: a place in the mixture's order, and what it stands for.

    place: position in the order.
    source: number of the source, as the mixture counts them.
    number: which sample of the source.
    """

    place: int
    source: int
    number: int


class Drawn(NamedTuple):
    """A usable sample: its place in the mixture's order, and the example that was made of it."""

    place: int
    example: Example


class RenderedSamples(TorchDataset[Example | InputError]):
    """What DataLoader's workers run: an ``RequestedSample`` in, an Example out, or the error as a value.

    names: the sources' names by number.
    cache: keep every example in memory, for small data sets that are read many times.
    """

    def __init__(self, source: ExampleSource, names: list[str], cache: bool) -> None:
        self.source = source
        self.names = names
        self.cache = cache
        self.kept: dict[tuple[int, int], Example | InputError] = {}

    def __getitem__(self, item: RequestedSample) -> Example | InputError:
        key = (item.source, item.number)
        if key in self.kept:
            return self.kept[key]
        example = self.source.example(self.names[item.source], item.number)
        if self.cache:
            self.kept[key] = example
        return example


class Feed:
    """The draws of one rank, each with a sample that can be used.

    Workers are asked ahead of time for what the draws will need if no sample is bad. Where one is bad, the workers are
    also asked for the next sample of the same source. DataLoader hands results over in the order of the requests, so
    the k-th draw of a source gets its k-th usable sample, however many workers there are.
    """

    def __init__(
        self, rendered: RenderedSamples, mixture: Mixture, ledger: Ledger, progress: RankProgress, num_workers: int,
        rank: int, world: int,
    ) -> None:  # fmt: skip
        """rendered: what workers run.
        mixture: the order of the samples.
        ledger: where bad samples are written down, and all that were read are counted.
        progress: where the draws go on.
        num_workers: processes; 0 for this one.
        rank, world: every ``world``-th place of the mixture is this rank's, from ``rank`` on.
        """
        self.mixture = mixture
        self.ledger = ledger
        self.source = rendered.source
        numbers = {name: i for i, name in enumerate(mixture.names)}
        ahead = {numbers[name]: place for name, place in progress["ahead"].items()}
        self.after = int(progress["next"])  # the place of the draw that comes next
        # two walks over the same places: what was handed out, and what workers were asked for, which runs ahead
        self.drawn = Walk(mixture, rank, world, self.after)
        self.asked = Walk(mixture, rank, world, self.after, dict(ahead))
        self.draws = self.drawn.draws()
        self.waited = list(progress["waiting"])  # places of samples that are read again, for the packer
        self.bounds: dict[int, int] = dict(ahead)  # source -> the place behind its last sample that was handed out
        self.owed: deque[int] = deque()  # sources that need a replacement
        self.open: deque[RequestedSample] = deque()  # requests without a result, in their order
        self.ready: list[deque[tuple[RequestedSample, Example | InputError]]] = [
            deque() for _ in mixture.names
        ]  # by source
        self.unusable: list[set[int]] = [set() for _ in mixture.names]  # by source, until one of its samples is usable
        self.usable = [False] * len(mixture.names)  # by source, whether any sample was
        travels: Callable[[Any], Any] = packed if num_workers else unchanged
        results = DataLoader(
            rendered,
            batch_size=None,
            sampler=_Requests(self),
            num_workers=num_workers,
            collate_fn=travels,
            generator=torch.Generator(),  # else it would take numbers from the one that dropout uses
        )
        self.results: Iterator[Example | InputError] = map(unpacked, results) if num_workers else iter(results)
        if num_workers:
            watch_workers()

    def requests(self) -> Iterator[RequestedSample]:
        """What workers are asked for, in order: what waited in the packer, then the draws, each followed at once by
        the replacements that are due by then.
        """
        for place in self.waited:
            yield self._ask(place)
        for source in self.asked.draws():
            yield self._ask(self.asked.take(source))
            while self.owed:
                yield self._ask(self.asked.more(self.owed.popleft()))

    def waiting(self) -> Iterator[Drawn]:
        """The samples that waited in the packer when the run was interrupted. Must be read before the first draw."""
        for _ in self.waited:
            item, result = self._receive()
            if isinstance(result, Example):
                self._count_used(item, result)
                yield Drawn(item.place, result)
            else:  # it was usable when it was drawn, and no longer is
                self._count_lost(item, result, "left out")

    def draw(self) -> Drawn | None:
        """The next sample; None at the end of a single pass. Raises InputError for an error that no sample can help,
        and where none of a source can be used.
        """
        for source in self.draws:
            drawn = self._next_usable(source)
            if drawn is not None:
                self.after = self.drawn.next + self.drawn.world
                return drawn
        return None

    def ahead(self) -> dict[str, int]:
        """``ahead`` of a cursor: the sources in which this rank is beyond its next draw."""
        return {self.mixture.names[i]: bound for i, bound in self.bounds.items() if bound > self.after}

    def close(self) -> None:
        """End the workers now; the sampler knows this object, so that they would live until a garbage collection."""
        self.results = iter(())

    def _next_usable(self, source: int) -> Drawn | None:
        """The next sample of a source that can be used. None where a single pass leaves it out, or has ended."""
        single_pass = self.mixture.seed is None
        while True:
            while not self.ready[source]:
                if not self._fetch():
                    return None
            item, result = self.ready[source].popleft()
            self.bounds[source] = item.place + 1
            if isinstance(result, Example):
                self._count_used(item, result)
                return Drawn(item.place, result)
            self._count_lost(item, result, "left out" if single_pass else "replaced")
            if single_pass:
                return None

    def _ask(self, place: int) -> RequestedSample:
        item = RequestedSample(place, self.mixture.source(place), self.mixture.index(place))
        self.open.append(item)
        return item

    def _receive(self) -> tuple[RequestedSample, Example | InputError]:
        """The oldest open request and its result. Raises StopIteration where there is none."""
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

    def _count_used(self, item: RequestedSample, example: Example) -> None:
        self.ledger.read += 1
        self.usable[item.source] = True
        if example.notes:
            name = self.mixture.names[item.source]
            self.ledger.note(name, item.number, sample_id(self.source.datasets[name], item.number), example.notes)

    def _count_lost(self, item: RequestedSample, error: InputError, action: str) -> None:
        """Write a bad sample into the ledger. action: what is done about it, as the ledger calls it.

        Raises InputError for an error that no other sample can help, and where a whole source cannot be used.
        """
        if not isinstance(error, BadSample):
            raise error
        name = self.mixture.names[item.source]
        size = self.mixture.supplies[item.source].size
        if error.reason != QUARANTINED:  # one in quarantine was not read, and an earlier ledger has it
            self.ledger.read += 1
            called = sample_id(self.source.datasets[name], item.number)
            self.ledger.add(Entry(name, item.number, called, error.reason, error.message, action))
        if self.usable[item.source] or self.mixture.seed is None:
            return
        self.unusable[item.source].add(item.number)
        if len(self.unusable[item.source]) == size:  # or replacements would be sought for ever
            raise InputError(f"none of the {size} samples of {name} can be used. {self.ledger.summary()}")


class _Requests:
    """The requests of a feed as the sampler that DataLoader expects."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def __iter__(self) -> Iterator[RequestedSample]:
        return self.feed.requests()


def unchanged(sample: T) -> T:
    """DataLoader's ``collate_fn`` for samples that stay as they are; a module's function, so that workers find it."""
    return sample
