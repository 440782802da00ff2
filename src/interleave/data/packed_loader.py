"""Samples to packed batches, and the cursor that each batch carries for resuming."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import cached_property

import torch

from ..core.collectives import Group, cpu_group, global_rank, world_size
from ..core.types import Batch, Example
from ..processing.collate import collate
from ..processing.over_length import ExampleLimits
from .agreement import agreed
from .budget import Budget, Load
from .cursor import Cursor, first_cursor
from .example_source import ExampleSource
from .feed import Feed, RenderedSamples
from .ledger import Ledger
from .mixture import Mixture
from .packing import Packer
from .prefetch import prefetched
from .worker_deaths import told

Rows = list[list[Example]]
"""The examples of a batch, row by row."""


class PackedLoader:
    """One rank's batches.

    cursor: where the next iteration begins, and with it which batches it makes. Each batch carries the one that
        follows it: how far this rank has come in the mixture, and which samples wait in the packer. Assigning it
        resumes a run with the same batches.
    pins_for: a GPU, for copies to which batches that are made ahead lie in page-locked memory; None for none.
    """

    def __init__(
        self,
        source: ExampleSource,
        budget: Budget,
        seed: int | None,
        num_workers: int = 0,
        cache: bool = False,
        ledger: Ledger | None = None,
        prefetch: int = 0,
    ) -> None:
        """source: data sets and how their samples become examples.
        budget: what a batch may hold; an example may take as much of it, unless the source says otherwise.
        seed: of the mixture's endless order. None reads everything once, in plain order, shared out over the ranks.
        num_workers: processes that read and render; 0 for this one.
        cache: keep examples in memory, for small data sets that are read many times.
        ledger: where bad samples are written down; by default in memory only.
        prefetch: how many batches a thread makes ahead; with 0 each is made when it is taken, and by the same thread.
        """
        limits = ExampleLimits(budget.sequence_length, budget.max_views)
        self.source = source if source.limits else replace(source, limits=limits)
        self.budget = budget
        self.num_workers = num_workers
        self.prefetch = prefetch
        self.mixture = Mixture(source.supplies(), seed)  # the same on every rank
        self.rendered = RenderedSamples(self.source, self.mixture.names, cache)
        self.ledger = ledger or Ledger()
        self.cursor: Cursor = first_cursor()
        self.pins_for: torch.device | None = None

    def set_reference(self, reference: Callable[[Example], tuple[float, float]]) -> None:
        """From now on a pair of replies comes with its two log-probabilities, as ``reference`` returns them."""
        self.source = replace(self.source, reference=reference)
        self.rendered = RenderedSamples(self.source, self.mixture.names, self.rendered.cache)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of at most ``batch_size`` rows, (B, sequence_length); endless unless ``seed`` is None.

        A single pass has as many batches on every rank, or the collectives of a step would not meet: a rank that has no
        more samples makes blank ones, of which nothing is learned. Where one rank raises, all do (``agreed``). Each
        batch is a collective that each rank must call.
        """
        return agreed(told(self._batches()), self._blank, self._group)

    def _batches(self) -> Iterator[Batch]:
        feed = self._feed(global_rank(), world_size())  # forks workers, and not from the thread that makes batches
        yield from prefetched(self._made(feed), self.prefetch)

    def _made(self, feed: Feed) -> Generator[Batch]:
        pins = self.pins_for if self.prefetch else None
        if pins:  # else each rank's thread would take memory of the first GPU
            torch.cuda.set_device(pins)
        for rows, cursor in self._packed_from(feed):
            batch = collate(rows, self.budget.sequence_length, self.source.vision, cursor)
            yield batch.pin_memory() if pins else batch

    @cached_property
    def _group(self) -> Group:
        """Where ranks agree on batches, apart from the collectives of the steps. Making it is a collective."""
        return cpu_group()

    def _blank(self) -> Batch:
        return collate([[]], self.budget.sequence_length, self.source.vision)

    def packed(self) -> Iterator[Rows]:
        """The same rows as examples, before they are tensors of a batch; for looking at them."""
        for rows, _ in told(self._packed_from(self._feed(global_rank(), world_size()))):
            yield rows

    def _feed(self, rank: int, world: int) -> Feed:
        return Feed(self.rendered, self.mixture, self.ledger, self.cursor, self.num_workers, rank, world)

    def _packed_from(self, feed: Feed) -> Iterator[tuple[Rows, Cursor]]:
        """Rows of each batch, and the cursor once it is used up."""
        budget, begun = self.budget, self.cursor
        packer = Packer(budget.batch_size, budget.sequence_length, budget.max_views, budget.lookahead)
        try:
            for place, example in feed.waiting():
                packer.add(place, example)
            # restored only now: totals of the interrupted run, in which what waited is counted already
            packer.seen = Load(*begun["seen"])
            self.ledger.read = begun["read"]
            while True:
                _fill(packer, feed)
                if not packer.waiting:  # the end of a single pass
                    return
                yield packer.take(), self._cursor(packer, feed)
        finally:  # also where nobody reads on: an iteration is endless
            feed.close()

    def _cursor(self, packer: Packer, feed: Feed) -> Cursor:
        return {
            "next": feed.after,
            "ahead": feed.ahead(),
            "waiting": [place for place, _ in packer.waiting],
            "seen": packer.seen.as_tuple(),
            "ledger": len(self.ledger.entries),
            "read": self.ledger.read,
        }


def _fill(packer: Packer, feed: Feed) -> None:
    """Draw samples until the packer has enough to choose from, or there are none left."""
    while not packer.full:
        drawn = feed.draw()
        if drawn is None:
            return
        packer.add(drawn.place, drawn.example)
