"""Loaders in Lightning's shape: what they hand to a step, and what of them goes into a checkpoint."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, TypedDict

import torch
from lightning import LightningDataModule
from torch import Tensor

from ..core.collectives import all_gather, global_rank, world_size
from ..core.errors import InputError
from ..core.types import Batch
from .budget import NO_LOAD, Budget, Load
from .cursor import Cursor, as_cursor
from .example_source import ExampleSource
from .gpu_copies import Copies, Copy
from .ledger import Ledger, SavedEntry
from .mixture import Signature, regroup
from .packed_loader import PackedLoader


class Generators(TypedDict):
    """States of torch's random generators, which dropout draws from; ``cuda`` is None on a rank without a GPU."""

    cpu: Tensor
    cuda: Tensor | None


class RankState(TypedDict):
    """What a checkpoint keeps of one rank.

    cursor: where its loader stands.
    ledger: the entries of its ledger up to there.
    generators: its random numbers.
    """

    cursor: Cursor
    ledger: list[SavedEntry]
    generators: Generators


class InterleavedData(LightningDataModule):
    """Training batches, and validation batches where a data set holds samples back.

    train: the loader of training.
    held: the loader of validation, or None.
    """

    def __init__(
        self,
        source: ExampleSource,
        budget: Budget,
        seed: int = 0,
        num_workers: int = 0,
        cache: bool = False,
        ledger: Ledger | None = None,
        prefetch: int = 0,
    ) -> None:
        """The arguments are those of ``PackedLoader``; the ledger is for training only."""
        super().__init__()
        self.train = PackedLoader(source, budget, seed, num_workers, cache, ledger, prefetch)
        self.held: PackedLoader | None = None
        if held := source.validation():
            # one batch after another, as they come: nothing is gained by choosing from many
            few = replace(budget, lookahead=1.5)
            self.held = PackedLoader(held, few, None, num_workers, cache, prefetch=prefetch)
        self._generators: Generators | None = None  # of a checkpoint, until the first step

    def loaders(self) -> list[PackedLoader]:
        """The loader of training, and that of validation where there is one."""
        return [self.train, self.held] if self.held else [self.train]

    def train_dataloader(self) -> PackedLoader | Copies:
        return self._for_device(self.train)

    def val_dataloader(self) -> PackedLoader | Copies | list[PackedLoader]:
        """An empty list where there is no validation, as Lightning wants it."""
        return self._for_device(self.held) if self.held else []

    def _for_device(self, loader: PackedLoader) -> PackedLoader | Copies:
        """A loader's batches, on their way to the device where that is a GPU and they are made ahead."""
        device: torch.device | None = self.trainer.strategy.root_device if self.trainer else None
        if not loader.prefetch or device is None or device.type != "cuda":
            return loader
        loader.pins_for = device
        return Copies(loader, device)

    def transfer_batch_to_device(self, batch: Batch | Copy, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.arrived() if isinstance(batch, Copy) else batch.to(device)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Note where the loader stands, and restore random numbers before the first step of a resumed run.

        Lightning fetches batches ahead; what is transferred is what a step is about to use up.
        """
        if self.trainer is not None and self.trainer.training:
            self.train.cursor = as_cursor(batch.cursor)
            if self._generators:  # only now, since starting up draws numbers, too
                torch.set_rng_state(self._generators["cpu"])
                if self._generators["cuda"] is not None and torch.cuda.is_available():
                    torch.cuda.set_rng_state(self._generators["cuda"])
                self._generators = None
        return batch

    def state_dict(self) -> dict[str, object]:
        """For a checkpoint: the mixture's signature, and each rank's ``RankState`` in rank order. A collective."""
        cursor = self.train.cursor
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
        mine: RankState = {
            "cursor": as_cursor(cursor),
            "ledger": self.train.ledger.state(cursor["ledger"]),
            "generators": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }
        return {"mixture": self.train.mixture.signature(), "ranks": all_gather(mine)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint. A collective.

        With as many ranks as before, each goes on exactly where it was. With another number they share out what is
        left: no sample is read twice and none is lost, in another order. Raises InputError where the data has changed.
        """
        self._check_same_mixture(state_dict["mixture"])
        ranks: list[RankState] = state_dict["ranks"]
        if len(ranks) == world_size():
            mine = ranks[global_rank()]
            self.train.cursor = mine["cursor"]
            self._generators = mine["generators"]  # used in on_after_batch_transfer
            self.train.ledger.restore(mine["ledger"])
        else:
            self._share_out(ranks)
        if global_rank() == 0:
            self._merged([state["ledger"] for state in ranks]).rewrite()
        all_gather(None)  # a barrier: nobody appends to the file before it is begun anew

    def ledger(self) -> Ledger:
        """One ledger of what all ranks met up to the batches that were trained on, each sample once for each reason.

        What was read ahead of these is left out: how far that is may differ from run to run. A collective.
        """
        cursor = self.train.cursor
        mine = self.train.ledger.state(cursor["ledger"]), cursor["read"]
        parts: list[tuple[list[SavedEntry], int]] = all_gather(mine)
        ranks: list[list[SavedEntry]] = []
        read = 0
        for entries, count in parts:
            ranks.append(entries)
            read += count
        whole = self._merged(ranks)
        whole.read = read
        return whole

    def _share_out(self, ranks: Sequence[RankState]) -> None:
        """Begin behind the last place that any rank had reached, and share out the unused ones before it.

        Rank 0 takes over the ledgers and the count of what was read, so that sums over ranks stay right.
        """
        rank, world = global_rank(), world_size()
        start, left = regroup(self.train.mixture, [state["cursor"] for state in ranks])
        seen, read = NO_LOAD, 0
        entries: list[SavedEntry] = []
        for state in ranks:
            seen = seen + Load(*state["cursor"]["seen"])
            if rank == 0:
                read += state["cursor"]["read"]
                entries += state["ledger"]
        self.train.ledger.restore(entries)
        self.train.cursor = {
            "next": start,
            "ahead": {},
            "waiting": left[rank::world],  # the packer gets these first
            "seen": seen.as_tuple(),
            "ledger": len(self.train.ledger.entries),
            "read": read,
        }

    def _merged(self, ranks: Sequence[Sequence[SavedEntry]]) -> Ledger:
        """A ledger at this run's path with the entries of all ranks, each once."""
        whole = Ledger(self.train.ledger.path, self.train.ledger.max_bad)
        whole.restore(list(chain.from_iterable(ranks)))
        return whole

    def _check_same_mixture(self, saved: Signature) -> None:
        """Raises InputError where the seed, a source's size or its draws an epoch are not those of the checkpoint."""
        now = self.train.mixture.signature()
        if saved["seed"] != now["seed"]:
            raise InputError(f"the checkpoint was trained with seed={saved['seed']}; resume with it, not {now['seed']}")
        for name in {**saved["sources"], **now["sources"]}:
            before, after = saved["sources"].get(name), now["sources"].get(name)
            if before != after:
                raise InputError(
                    f"source {name} has changed since the checkpoint: {_counts(before)} then, {_counts(after)} now; "
                    "resume with the same data, or begin a new run with init=..."
                )


def _counts(source: Sequence[int] | None) -> str:
    """A source of a signature in words; None is one that it does not have."""
    return f"{source[0]} samples, {source[1]} an epoch" if source else "absent"
