"""What is logged of the data: losses, repairs, and how many views a batch has."""

import torch
from lightning import Callback, LightningModule, Trainer

from ..core.collectives import all_reduce_sum
from ..core.types import Batch
from .datamodule import InterleavedData
from .ledger import OUTCOMES
from .log_steps import LogSteps


class DataTotals(Callback):
    """Logs what the ledgers of all ranks hold, and how many views a batch had since the log step before.

    Every rank counts on its CPU; the ranks add up at log steps, in one collective. What several ranks met counts for
    each of them. Raises InputError there where all ranks together lost more than ``max_bad``, each sample counted once.
    """

    def __init__(self) -> None:
        self._log_steps = LogSteps()
        self._since = [0, 0]  # views and batches

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        mine = [len(batch.pixel_values), 1]
        self._since = [a + b for a, b in zip(self._since, mine, strict=True)]
        if self._log_steps.over(trainer):
            data: InterleavedData = trainer.datamodule  # type: ignore[attr-defined]
            self._log(data, pl_module)

    def _log(self, data: InterleavedData, module: LightningModule) -> None:
        """A collective that each rank must call."""
        ledger, cursor = data.train.ledger, data.train.cursor
        met = ledger.outcomes(cursor["ledger"])  # not beyond the batches that were trained on
        mine = [*(met[name] for name in OUTCOMES), cursor["read"], *self._since]
        self._since = [0, 0]
        # float64: exact up to 2^53
        totals = all_reduce_sum(torch.tensor(mine, dtype=torch.float64, device=module.device))  # (outcomes + 3,)
        *counts, read, views, batches = totals.tolist()
        values = {**dict(zip(OUTCOMES, counts, strict=True)), "views": views / batches}
        module.log_dict({f"data/{name}": value for name, value in values.items()})
        # sums are the same on every rank, so either all of them go on to gather their ledgers, or none
        if ledger.exceeds_limit(int(counts[0]), int(read)):
            data.ledger().check_limit()
