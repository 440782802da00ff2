"""The model in Lightning's shape: steps, what is logged, and what becomes of a step that is not finite."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from ..core.collectives import world_size
from ..core.errors import InputError
from ..core.types import Batch
from ..data.log_steps import is_log_step
from ..model.interleaved_model import InterleavedModel
from . import checkpoint_files, parallelize
from .compilation import compile_blocks
from .dpo import preference_loss
from .lora import inject
from .optimizer import Stage, freeze, optimizer, parts, schedule
from .parallelize import CheckpointMode
from .step_guard import StepGuard
from .step_sums import StepSums

HALF_PRECISIONS = {"bf16-true": torch.bfloat16, "16-true": torch.float16}
"""Lightning's words for weights that are no float32 -> their type."""


class LitInterleaved(LightningModule):
    """Trains an ``InterleavedModel`` as a stage says.

    A micro-batch's loss is a sum, not a mean. Gradients are divided once, before the optimiser's step, by the units
    (tokens, or pairs in DPO) of all ranks and micro-batches together: each unit weighs the same wherever it lies.
    """

    def __init__(
        self,
        model: InterleavedModel,
        stage: Stage,
        checkpoint_activations: Mapping[str, CheckpointMode] | None = None,
        start: Callable[["LitInterleaved"], None] | None = None,
        compiled: bool = False,
    ) -> None:
        """checkpoint_activations: the towers that compute activations again in the backward pass, and how much.
        start: called once, when the model is sharded: gives weights to what has none yet.
        compiled: whether the towers' blocks are compiled.
        """
        super().__init__()
        self.model, self.stage, self.compiled = model, stage, compiled
        self.checkpoint_activations = checkpoint_activations or {}
        self._start = start
        if stage.lora:
            inject(model.llm, stage.lora)
        freeze(model, stage)  # after ``inject``, since adapters are what learns then
        self._step_sums: StepSums | None = None  # since the last optimiser step, on this rank
        self._validation_sums = StepSums.zero()
        self._configured = False
        self._guard = StepGuard()
        self.strict_loading = False  # what Lightning loads has no weights, which ``restore`` reads
        self._to_restore: list[dict[str, object]] | None = None  # settings of the optimiser, of a checkpoint

    @property
    def computes_in_bf16(self) -> bool:
        """Whether the trainer's precision is bf16-true or bf16-mixed."""
        return "bf16" in str(self.trainer.precision)

    def configure_model(self) -> None:
        """Checkpoint, compile and shard the model, and give it its weights, in this order, once devices are known."""
        if self._configured:  # Lightning calls it once for fit and again for validation
            return
        self._configured = True
        parallelize.checkpoint_activations(self.model, self.checkpoint_activations)
        if self.compiled:
            compile_blocks(parallelize.blocks(self.model))
        if self._start and str(self.trainer.precision) in HALF_PRECISIONS:
            # Lightning converts a model, too, but only once it is there in float32
            self.model.to(HALF_PRECISIONS[str(self.trainer.precision)])
        strategy = self.trainer.strategy
        if isinstance(strategy, parallelize.FSDP2Strategy):
            strategy.shard(self.model, torch.bfloat16 if self.computes_in_bf16 else torch.float32)
        if self._start:
            self._start(self)

    def objective(self, batch: Batch) -> StepSums:
        """The loss of the stage over a batch: of preferences or of next tokens."""
        if self.stage.dpo:
            return preference_loss(self.model, batch, self.stage.dpo)
        return StepSums.of_tokens(*self.model.loss(batch))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The sum of losses of a micro-batch, whose gradients Lightning accumulates."""
        sums = self.objective(batch)
        self._step_sums = self._step_sums + sums.detach() if self._step_sums else sums.detach()
        return sums.loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimiser divide the gradients by the step's units, clip them, or drop them where they are not
        finite; at log steps, log the step."""
        assert self._step_sums, "a step has a micro-batch"
        sums = self._step_sums.all_reduce()  # of all micro-batches and ranks
        self._step_sums = None
        # Lightning has divided by the micro-batches, DDP and FSDP by the ranks: undo both, then divide by the units
        factor = self.trainer.accumulate_grad_batches * world_size() / sums.count.clamp(min=1)
        step = self.trainer.global_step + 1  # Lightning counts finished steps
        self._guard.prepare(optimizer, sums.loss, factor, self.trainer.gradient_clip_val, step)
        if is_log_step(self.trainer, step):
            self.log("train/skipped_steps", float(self._guard.report(self.trainer.is_global_zero)))
            self._log_step(sums, optimizer, factor)

    def configure_gradient_clipping(self, *_: object, **__: object) -> None:
        """Nothing: the step's guard has folded clipping into its factor."""

    def _log_step(self, sums: StepSums, optimizer: torch.optim.Optimizer, factor: Tensor) -> None:
        """sums: of all micro-batches and ranks of the step. factor: by which gradients are multiplied before they are
        clipped. A collective, which each rank must call."""
        self.log("train/loss", sums.mean_loss())
        self.log("train/units" if self.stage.dpo else "train/tokens", sums.count)
        if self.stage.dpo:
            self.log("dpo/margin", sums.margin / sums.pairs.clamp(min=1))
            self.log("dpo/accuracy", sums.won / sums.pairs.clamp(min=1))
        for group in optimizer.param_groups:
            self.log(f"lr/{group['name']}", group["lr"])  # such as lr/llm/matrices
        for part, parameters in parts(self.model).items():
            if any(parameter.grad is not None for parameter in parameters.values()):
                self.log(f"grad/{part}", parallelize.gradient_norm(parameters.values()).to(factor.device) * factor)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Leave what Lightning writes without tensors, which ``checkpointing`` writes beside it, and keep the rates.

        Raises before a checkpoint that is not finite is written, so that it takes no other one's place.
        """
        self.check_finite()
        checkpoint |= {
            "state_dict": {},
            "optimizer_states": [],
            "param_groups": checkpoint_files.settings(self._adamw()),
        }

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        self._to_restore = checkpoint["param_groups"]

    def on_train_start(self) -> None:
        """Go on where the checkpoint left off, with a whole step, also where it takes other numbers of micro-batches:
        Lightning ends a step at each multiple of theirs, counted since the run began."""
        self.restore()
        counts = self.trainer.fit_loop.epoch_loop.batch_progress.current
        counts.increment_by(-counts.ready % self.trainer.accumulate_grad_batches)

    def restore(self) -> None:
        """Read weights and optimiser of the checkpoint that the run goes on from, once, when both are on their devices.

        Lightning calls ``on_train_start`` where steps are left; else whoever wants the weights calls this.
        """
        groups, self._to_restore = self._to_restore, None
        if groups is not None:
            folder = Path(str(self.trainer.ckpt_path)).parent
            checkpoint_files.read_tensors(folder, self.model, self._adamw())
            checkpoint_files.restore_settings(self._adamw(), groups)

    def _adamw(self) -> torch.optim.Optimizer:
        (adamw,) = self.trainer.optimizers
        return adamw

    def check_finite(self) -> None:
        """Raise InputError, on all ranks where a weight is not finite on any. A collective that each rank must call."""
        broken = parallelize.not_finite(self.model)
        if broken:
            raise InputError(
                f"{broken[0]} and {len(broken) - 1} more tensors are not finite after step {self.trainer.global_step}: "
                "they are not written. The newest checkpoint in the run's folder is as it was before; resume from it "
                "with a lower stage.lr"
            )

    def on_validation_epoch_start(self) -> None:
        self._validation_sums = StepSums.zero(self.device)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._validation_sums = self._validation_sums + self.objective(batch)

    def on_validation_epoch_end(self) -> None:
        self.log("val/loss", self._validation_sums.all_reduce().mean_loss(), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, and the stage's schedule, which changes the rates after every step."""
        adamw = optimizer(self.model, self.stage)
        rates = schedule(adamw, self.stage, self.trainer.max_steps)
        # "step": Lightning would change the rates once an epoch
        return {"optimizer": adamw, "lr_scheduler": {"scheduler": rates, "interval": "step"}}
