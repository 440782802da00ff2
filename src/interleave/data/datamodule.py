"""Loaders in Lightning's shape: what they hand to a step, and what of them goes into a checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer

from ..core.collectives import all_gather, all_reduce_sum, global_rank, world_size
from ..core.errors import InputError
from ..core.types import Batch
from .example_source import Source
from .ledger import ACTIONS, Ledger
from .mixture import regroup
from .packed_loader import Budget, PackedLoader


class InterleavedData(LightningDataModule):
    """Training batches, and validation batches where a data set holds samples back."""

    def __init__(
        self,
        source: Source,
        budget: Budget,
        seed: int = 0,
        num_workers: int = 0,
        cache: bool = False,
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__()
        self.train = PackedLoader(source, budget, seed, num_workers, cache, ledger)
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
        return {"mixture": self.train.mixture.signature(), "ranks": all_gather(mine)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """With as many ranks as before, each goes on exactly where it was. With another number they share out what is
        left: no sample is read twice and none is lost, in another order. Raises InputError where the data has changed.
        """
        self._same_mixture(state_dict["mixture"])
        ranks, rank, world = state_dict["ranks"], global_rank(), world_size()
        entries = [entry for r in ranks for entry in r["ledger"]]
        if len(ranks) == world:
            mine = ranks[rank]
            self.train.cursor, self._generators = mine["cursor"], mine["generators"]
            self.train.ledger.restore(mine["ledger"])
        else:
            start, left = regroup(self.train.mixture, [r["cursor"] for r in ranks])
            self.train.ledger.restore(entries if rank == 0 else [])
            seen = tuple(sum(r["cursor"]["seen"][i] for r in ranks) for i in (0, 1))
            read = sum(r["cursor"]["read"] for r in ranks) if rank == 0 else 0
            known = {"ledger": len(self.train.ledger.entries), "read": read}
            self.train.cursor = {"next": start, "ahead": {}, "waiting": left[rank::world], "seen": seen, **known}
        if rank == 0:
            self._merged([r["ledger"] for r in ranks]).rewrite()
        all_gather(None)  # nobody appends to the file before it is begun anew

    def ledger(self) -> Ledger:
        """What all ranks found, each sample once for each reason; a collective."""
        mine = self.train.ledger
        parts = all_gather((mine.state(len(mine.entries)), mine.read))
        whole = self._merged([entries for entries, _ in parts])
        whole.read = sum(read for _, read in parts)
        return whole

    def _merged(self, ranks: Sequence[Sequence[Mapping[str, Any]]]) -> Ledger:
        whole = Ledger(self.train.ledger.path, self.train.ledger.max_bad)
        whole.restore([entry for entries in ranks for entry in entries])
        return whole

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


class DataTotals(Callback):
    """Logs what the ledgers of all ranks hold, and how much of a batch is real.

    What several ranks met counts for each of them. Raises InputError where all ranks together lost more than
    ``max_bad``, each sample counted once.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        data: InterleavedData = trainer.datamodule  # type: ignore[attr-defined]
        ledger = data.train.ledger
        real = float((batch.document_ids > 0).float().mean())
        mine = [*(ledger.counts[name] for name in ACTIONS), ledger.read, real, len(batch.pixel_values), 1]
        *counts, read, real, views, ranks = all_reduce_sum(torch.tensor(mine, device=pl_module.device)).tolist()
        pl_module.log_dict({f"data/{name}": count for name, count in zip(ACTIONS, counts, strict=True)})
        pl_module.log_dict({"data/real_tokens": real / ranks, "data/views": views / ranks})
        if ledger.over(int(counts[0]), int(read)):  # the same on every rank
            data.ledger().hold()
