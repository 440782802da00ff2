"""Loaders in Lightning's shape: what they hand to a step, and what of them goes into a checkpoint."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from lightning import LightningDataModule

from . import parallel
from .ledger import Ledger
from .loader import Budget, PackedLoader
from .mixture import regroup
from .source import Source
from .types import Batch, InputError


class InterleavedData(LightningDataModule):
    """Training batches, and validation batches where a data set holds samples back."""

    def __init__(
        self,
        source: Source,
        budget: Budget,
        seed: int = 0,
        workers: int = 0,
        cache: bool = False,
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__()
        self.train = PackedLoader(source, budget, seed, workers, cache, ledger)
        held = source.validation()
        # one batch after another, as they come: nothing is gained by choosing from many
        self.held = PackedLoader(held, replace(budget, lookahead=1.5), None, 0, cache) if held else None
        self._generators: Mapping[str, Any] | None = None

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
            if self._generators:  # only now, since starting up draws numbers, too
                torch.set_rng_state(self._generators["cpu"])
                if self._generators["cuda"] is not None and torch.cuda.is_available():
                    torch.cuda.set_rng_state(self._generators["cuda"])
                self._generators = None
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Of every rank: where it stands, what its ledger holds up to there, and its random numbers."""
        cursor = dict(self.train.cursor)
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
        mine = {
            "cursor": cursor,
            "ledger": self.train.ledger.state(cursor["ledger"]),
            "generators": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }
        return {"mixture": self.train.mixture.signature(), "ranks": parallel.gather(mine)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """With as many ranks as before, each goes on exactly where it was. With another number they share out what is
        left: no sample is read twice and none is lost, in another order. Raises InputError where the data has changed.
        """
        self._same_mixture(state_dict["mixture"])
        ranks, (rank, world) = state_dict["ranks"], parallel.world()
        entries = [entry for r in ranks for entry in r["ledger"]]
        if len(ranks) == world:
            mine = ranks[rank]
            self.train.cursor, self._generators = mine["cursor"], mine["generators"]
            self.train.ledger.restore(mine["ledger"])
        else:
            start, left = regroup(self.train.mixture, [r["cursor"] for r in ranks])
            self.train.ledger.restore(entries if rank == 0 else [])
            seen = tuple(sum(r["cursor"]["seen"][i] for r in ranks) for i in (0, 1))
            mine = {"waiting": left[rank::world], "seen": seen, "ledger": len(entries)}
            self.train.cursor = {"next": start, "ahead": {}, **mine}
        if rank == 0:
            self.train.ledger.rewrite(entries)

    def _same_mixture(self, saved: Mapping[str, Any]) -> None:
        now = self.train.mixture.signature()
        if saved["seed"] != now["seed"]:
            raise InputError(f"the checkpoint was trained with seed={saved['seed']}; resume with it, not {now['seed']}")
        for name in {**saved["sources"], **now["sources"]}:
            before, after = saved["sources"].get(name), now["sources"].get(name)
            if before != after:
                told = [f"{c[0]} samples, {c[1]} an epoch" if c else "absent" for c in (before, after)]
                raise InputError(
                    f"source {name} has changed since the checkpoint: {told[0]} then, {told[1]} now; "
                    "resume with the same data, or begin a new run with init=..."
                )
