"""The model in Lightning's shape. No logic of its own: everything here can be done without Lightning."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from ..core.collectives import all_reduce_sum, world_size
from ..core.errors import InputError
from ..core.types import Batch
from ..model.interleaved_model import InterleavedModel
from ..training import parallelize
from .dpo import preference_loss
from .lora import inject
from .optimizer import Stage, freeze, optimizer, schedule

log = logging.getLogger(__name__)

MOST_SKIPPED = 10
"""Steps in a row without a finite loss and gradient that end a run."""


class LitInterleaved(LightningModule):
    """Losses travel as sums. Gradients are divided once a step, by the tokens of all ranks and micro-batches."""

    def __init__(self, model: InterleavedModel, stage: Stage, checkpoint_activations: Sequence[str] = ()) -> None:
        super().__init__()
        self.model, self.stage, self.checkpoint_activations = model, stage, checkpoint_activations
        if stage.lora:
            inject(model.llm, stage.lora)
        freeze(model, stage)
        self._sums = torch.zeros(5 if stage.dpo else 2)  # of ``objective`` since the last step, on this rank
        self._validation = torch.zeros_like(self._sums)
        self._ready = False
        self._skipped = self._in_a_row = 0

    def configure_model(self) -> None:
        if self._ready:  # Lightning calls it once for fit and again for validation
            return
        self._ready = True
        if self.checkpoint_activations:
            parallelize.checkpoint_activations(self.model, self.checkpoint_activations)
        if self.device_mesh is not None:
            half = "bf16" in str(self.trainer.precision)
            mesh = self.device_mesh["data_parallel"]
            parallelize.shard(self.model, mesh, torch.bfloat16 if half else torch.float32)

    def objective(self, batch: Batch) -> Tensor:
        """Sums over the batch: first the loss, then what it is divided by, then what else is logged."""
        if self.stage.dpo:
            return preference_loss(self.model, batch, self.stage.dpo)
        return torch.stack([part.float() for part in self.model.loss(batch)])

    def training_step(self, batch: Batch, index: int) -> Tensor:
        sums = self.objective(batch)
        self._sums = self._sums.to(sums.device) + sums.detach()
        return sums[0]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        loss, count, *more = all_reduce_sum(self._sums)
        self._sums = torch.zeros_like(self._sums)
        self._guard(loss)
        # Lightning has divided by the micro-batches, DDP and FSDP by the ranks: undo both, then divide by the tokens
        factor = self.trainer.accumulate_grad_batches * world_size() / count.clamp(min=1)
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        self.log("train/loss", loss / count.clamp(min=1), prog_bar=True)
        self.log("train/units" if self.stage.dpo else "train/tokens", count)
        if self.stage.dpo:
            margin, won, pairs = more
            self.log("dpo/margin", margin / pairs.clamp(min=1))
            self.log("dpo/accuracy", won / pairs.clamp(min=1), prog_bar=True)
        for group in optimizer.param_groups:
            self.log(f"lr/{group['name']}", group["lr"])

    def _guard(self, loss: Tensor) -> None:
        """Skip a step whose loss or gradient is not finite: its gradients are dropped, so that the optimiser changes
        nothing, neither weights nor its own state.

        Both are sums over all ranks, so that every rank decides alike. The host reads one number a step. Raises
        InputError after ``MOST_SKIPPED`` such steps in a row.
        """
        norm = parallelize.gradient_norm(self.parameters())
        finite = bool(torch.isfinite(loss) & torch.isfinite(norm))
        self._in_a_row = 0 if finite else self._in_a_row + 1
        self._skipped += not finite
        self.log("train/skipped_steps", float(self._skipped))
        if finite:
            return
        for parameter in self.parameters():
            parameter.grad = None
        step = self.trainer.global_step + 1
        told = f"loss {float(loss):g}, gradient norm {float(norm):g}"
        if self.trainer.is_global_zero:
            log.warning("step %d is skipped: it is not finite (%s)", step, told)
        if self._in_a_row == MOST_SKIPPED:
            raise InputError(
                f"{MOST_SKIPPED} steps in a row are not finite, the last is step {step} ({told}); nothing was learned "
                "from them, and checkpoints are as they were before. Lower stage.lr or set trainer.gradient_clip_val, "
                "and look at the weights that training begins with"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint that is not finite is not written at all, so that it takes no other one's place."""
        self.check_finite()

    def check_finite(self) -> None:
        """A collective. Raises InputError, on all ranks, where a weight is not finite."""
        broken = parallelize.not_finite(self.model)
        if broken:
            raise InputError(
                f"{broken[0]} and {len(broken) - 1} more tensors are not finite after step {self.trainer.global_step}: "
                "they are not written. The newest checkpoint in the run's folder is as it was before; resume from it "
                "with a lower stage.lr"
            )

    def on_validation_epoch_start(self) -> None:
        self._validation = torch.zeros_like(self._validation, device=self.device)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._validation += self.objective(batch)

    def on_validation_epoch_end(self) -> None:
        loss, count = all_reduce_sum(self._validation)[:2]
        self.log("val/loss", loss / count.clamp(min=1), prog_bar=True)

    def configure_optimizers(self) -> Any:
        adamw = optimizer(self.model, self.stage)
        rates = schedule(adamw, self.stage, self.trainer.max_steps)
        return {"optimizer": adamw, "lr_scheduler": {"scheduler": rates, "interval": "step"}}
