"""Samples to packed batches for Lightning: order, loader workers, bad samples and the position to resume from."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from . import parallel
from .collate import Packer, collate
from .source import Source
from .types import BadSample, Batch, Example, InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """What one batch may hold: ``rows`` of ``length`` tokens, ``views`` in all."""

    length: int
    rows: int = 1
    views: int = 64


@dataclass
class Skipped:
    """Samples left out, counted by reason; each is named in the log once."""

    reasons: Counter[str] = field(default_factory=Counter)
    named: set[str] = field(default_factory=set)

    def add(self, bad: BadSample) -> None:
        if bad.message not in self.named:
            self.named.add(bad.message)
            self.reasons[bad.reason] += 1
            log.warning("skipped (%s): %s", bad.reason, bad.message)

    def summary(self) -> str:
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.reasons.most_common())
        return f"{self.reasons.total()} samples skipped: {reasons}"


class _Rendered(TorchDataset[Example | InputError]):
    """What DataLoader's workers run. ``cache`` keeps examples, for small sets that are read many times."""

    def __init__(self, source: Source, cache: bool) -> None:
        self.source, self.cache = source, cache
        self.kept: dict[int, Example | InputError] = {}

    def __getitem__(self, index: int) -> Example | InputError:
        if index in self.kept:
            return self.kept[index]
        example = self.source.example(index)
        if self.cache:
            self.kept[index] = example
        return example


class PackedLoader:
    """One rank's batches. Endless in training; where ``seed`` is None, one pass in order, the same on every rank.

    In training all ranks walk the same shuffled order, each takes every ``world``-th sample of it. The cursor of a
    batch says how far the walk had come and which samples were waiting in the packer, so that a resumed run makes the
    same batches.
    """

    def __init__(self, source: Source, budget: Budget, seed: int | None, workers: int = 0, cache: bool = False) -> None:
        if not len(source):
            raise InputError(f"no samples in {', '.join(source.datasets) or 'any data set'}; choose dataset=[...]")
        self.source, self.budget, self.seed, self.workers = source, budget, seed, workers
        self.rendered = _Rendered(source, cache)
        self.skipped = Skipped()
        self.cursor: Mapping[str, Any] = {"next": 0, "waiting": []}

    def refer(self, reference: Callable[[Example], tuple[float, float]]) -> None:
        """From now on pairs come with the log-probabilities that ``reference`` knows."""
        self.source = replace(self.source, reference=reference)
        self.rendered = _Rendered(self.source, self.rendered.cache)

    def __iter__(self) -> Iterator[Batch]:
        # unequal numbers of validation batches would leave FSDP's collectives waiting
        rank, world = (0, 1) if self.seed is None else parallel.world()
        packer = Packer(self.budget.rows, self.budget.length, self.budget.views)
        again: list[int] = list(self.cursor["waiting"])
        start = int(self.cursor["next"])
        usable, seen = False, 0
        for position, item in self._examples(again, start, rank, world):
            seen, start = seen + 1, max(start, position + 1)
            if self._offer(packer, position, item):
                usable = True
                if packer.full and seen > len(again):
                    yield self._batch(packer, start)
            elif not usable and seen >= len(self.source):
                raise InputError(f"none of {len(self.source)} samples can be used: {self.skipped.summary()}")
        if self.seed is None:
            while packer.waiting:
                yield self._batch(packer, start)

    def _offer(self, packer: Packer, position: int, item: Example | InputError) -> bool:
        """Whether the packer took it; what it cannot take is left out by name."""
        try:
            if isinstance(item, InputError):
                raise item
            packer.add(position, item)
        except BadSample as bad:
            self.skipped.add(bad)
            return False
        return True

    def _batch(self, packer: Packer, start: int) -> Batch:
        rows = packer.take()
        cursor = {"next": start, "waiting": [position for position, _ in packer.waiting]}
        return collate(rows, self.budget.length, self.source.vision, cursor)

    def _examples(
        self, again: Sequence[int], start: int, rank: int, world: int
    ) -> Iterator[tuple[int, Example | InputError]]:
        """(position in the order, example) for the waiting ones, then onwards from ``start``."""
        order = _Order(len(self.source), self.seed, again, start, rank, world)
        # the sampler runs ahead of the workers, so positions are walked a second time beside the results
        results = DataLoader(
            self.rendered, batch_size=None, sampler=order.indices(), num_workers=self.workers, collate_fn=_same,
        )  # fmt: skip
        yield from zip(order.positions(), results, strict=False)


def _same(item: Any) -> Any:
    return item


@dataclass(frozen=True)
class _Order:
    """The walk over the samples: epoch after epoch, each in an order of its own."""

    total: int
    seed: int | None
    again: Sequence[int]
    start: int
    rank: int
    world: int

    def positions(self) -> Iterator[int]:
        yield from self.again
        position = self.start + (self.rank - self.start) % self.world
        while self.seed is not None or position < self.total:
            yield position
            position += self.world

    def indices(self) -> "_Indices":
        return _Indices(self)


class _Indices:
    def __init__(self, order: _Order) -> None:
        self.order = order

    def __iter__(self) -> Iterator[int]:
        order = self.order
        if order.seed is None:
            yield from order.positions()
            return
        epoch, permutation = -1, torch.empty(0)
        for position in order.positions():
            if position // order.total != epoch:
                epoch = position // order.total
                generator = torch.Generator().manual_seed(order.seed * 1_000_003 + epoch)
                permutation = torch.randperm(order.total, generator=generator)
            yield int(permutation[position % order.total])


class InterleavedData(LightningDataModule):
    """Training batches, and validation batches where a data set holds samples back."""

    def __init__(self, source: Source, budget: Budget, seed: int = 0, workers: int = 0, cache: bool = False) -> None:
        super().__init__()
        self.budget, self.workers = budget, workers
        self.train = PackedLoader(source, budget, seed, workers, cache)
        held = source.validation()
        self.held = PackedLoader(held, budget, None, 0, cache) if held else None

    def loaders(self) -> list[PackedLoader]:
        """Of training, and of validation where there is one."""
        return [loader for loader in (self.train, self.held) if loader]

    def train_dataloader(self) -> PackedLoader:
        return self.train

    def val_dataloader(self) -> PackedLoader | list[Any]:
        return self.held or []

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Lightning fetches ahead; what is transferred is what a step is about to use up."""
        if self.trainer is not None and self.trainer.training:
            self.train.cursor = batch.cursor
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {"cursors": parallel.gather(dict(self.train.cursor))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        cursors = state_dict["cursors"]
        rank, world = parallel.world()
        if len(cursors) != world:
            raise InputError(
                f"the checkpoint was written by {len(cursors)} processes and {world} resume it; start as many"
            )
        self.train.cursor = cursors[rank]
