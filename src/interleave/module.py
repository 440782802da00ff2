"""The model in Lightning's shape. No logic of its own: everything here can be done without Lightning."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from . import parallel
from .lora import inject
from .model import InterleavedModel
from .optim import Stage, freeze, optimizer, schedule
from .types import Batch


class LitInterleaved(LightningModule):
    """Losses travel as sums. Gradients are divided once a step, by the tokens of all ranks and micro-batches."""

    def __init__(self, model: InterleavedModel, stage: Stage, checkpoint_activations: Sequence[str] = ()) -> None:
        super().__init__()
        self.model, self.stage, self.checkpoint_activations = model, stage, checkpoint_activations
        if stage.lora:
            inject(model.llm, stage.lora)
        freeze(model, stage)
        self._sums = torch.zeros(2)  # loss and tokens since the last step, on this rank
        self._validation = torch.zeros(2)
        self._ready = False

    def configure_model(self) -> None:
        if self._ready:  # Lightning calls it once for fit and again for validation
            return
        self._ready = True
        if self.checkpoint_activations:
            parallel.checkpoint_activations(self.model, self.checkpoint_activations)
        if self.device_mesh is not None:
            half = "bf16" in str(self.trainer.precision)
            mesh = self.device_mesh["data_parallel"]
            parallel.shard(self.model, mesh, torch.bfloat16 if half else torch.float32)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss, count = self.model.loss(batch)
        self._sums = self._sums.to(loss.device) + torch.stack([loss.detach().float(), count.float()])
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        loss, count = parallel.total(self._sums)
        self._sums = torch.zeros_like(self._sums)
        # Lightning has divided by the micro-batches, DDP and FSDP by the ranks: undo both, then divide by the tokens
        factor = self.trainer.accumulate_grad_batches * parallel.world()[1] / count.clamp(min=1)
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        self.log("train/loss", loss / count.clamp(min=1), prog_bar=True)
        self.log("train/tokens", count)
        for group in optimizer.param_groups:
            self.log(f"lr/{group['name']}", group["lr"])

    def on_validation_epoch_start(self) -> None:
        self._validation = torch.zeros(2, device=self.device)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._validation += torch.stack([part.float() for part in self.model.loss(batch)])

    def on_validation_epoch_end(self) -> None:
        loss, count = parallel.total(self._validation)
        self.log("val/loss", loss / count.clamp(min=1), prog_bar=True)

    def configure_optimizers(self) -> Any:
        adamw = optimizer(self.model, self.stage)
        rates = schedule(adamw, self.stage, self.trainer.max_steps)
        return {"optimizer": adamw, "lr_scheduler": {"scheduler": rates, "interval": "step"}}
