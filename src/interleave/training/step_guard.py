"""What becomes of a step's gradients: scaled, clipped, or dropped where they are not finite.

It is all decided on the device. The host reads the outcome at log steps only (``report``), so that no step waits.
"""

import logging
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..core.errors import InputError
from . import parallelize

log = logging.getLogger(__name__)

MAX_SKIPPED_IN_A_ROW = 10
"""Steps in a row without a finite loss and gradient that end a run."""
CLIP_EPSILON = 1e-6
"""Added to a norm before it divides, as torch's clip_grad_norm_ does."""


class StepGuard:
    """Prepares each optimiser step, and counts the steps that were skipped since the run began.

    It keeps six numbers on the device: steps skipped, skipped in a row just now, the most in a row, and of the last
    skipped step its number, loss and gradient norm.
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None  # (6,) float32
        self._reported = 0  # skipped steps that a warning has named

    def prepare(
        self, optimizer: torch.optim.Optimizer, loss: Tensor, factor: Tensor, clip: float | None, step: int
    ) -> None:
        """Let the optimiser's step use gradients times ``factor``, clipped to a norm of ``clip`` then, or change
        nothing, neither weights nor its own state, where loss or gradient is not finite.

        loss: scalar, summed over all ranks, as the gradient's norm is, so that every rank decides alike.
        step: its number, from 1. A collective, which each rank must call.
        """
        parameters: list[nn.Parameter] = []
        for group in optimizer.param_groups:
            parameters += group["params"]
        norm = parallelize.gradient_norm(parameters).to(loss.device)
        finite = torch.isfinite(loss) & torch.isfinite(norm)
        scale = factor
        if clip:
            scale = factor * (clip / (norm * factor + CLIP_EPSILON)).clamp(max=1)
        self._count(~finite, torch.stack([torch.full_like(norm, step), loss.to(norm), norm]))
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            # how torch's GradScaler talks to fused optimisers: gradients are divided by the one, and nothing is done
            # where the other is 1
            optimizer.grad_scale, optimizer.found_inf = 1 / scale, (~finite).float()  # type: ignore[attr-defined]
        else:
            _scale_or_drop(parameters, scale, finite)

    def report(self, is_global_zero: bool) -> int:
        """The number of skipped steps so far, with a warning on rank 0 where there are new ones; waits for the device.

        Raises InputError after ``MAX_SKIPPED_IN_A_ROW`` such steps in a row, at whatever step it is called then.
        """
        if self._counts is None:
            return 0
        skipped, _, most, step, loss, norm = self._counts.tolist()
        numbers = f"loss {loss:g}, gradient norm {norm:g}"
        new = int(skipped) - self._reported
        if new and is_global_zero:
            before = f", and {new - 1} before it" if new > 1 else ""
            log.warning("step %d is skipped%s: it is not finite (%s)", step, before, numbers)
        self._reported = int(skipped)
        if most >= MAX_SKIPPED_IN_A_ROW:
            raise InputError(
                f"{most:.0f} steps in a row are not finite, the last is step {step:.0f} ({numbers}); nothing was "
                "learned from them, and checkpoints are as they were before. Lower stage.lr or set "
                "trainer.gradient_clip_val, and look at the weights that training begins with"
            )
        return int(skipped)

    def _count(self, bad: Tensor, last: Tensor) -> None:
        """bad: scalar bool. last: (3,) number, loss and gradient norm of this step."""
        if self._counts is None:
            self._counts = last.new_zeros(6)
        skipped, in_a_row, most = self._counts[:3].unbind()
        in_a_row = (in_a_row + 1) * bad
        counts = torch.stack([skipped + bad, in_a_row, torch.maximum(most, in_a_row)])
        self._counts = torch.cat([counts, torch.where(bad, last, self._counts[3:])])


def _scale_or_drop(parameters: Iterable[nn.Parameter], scale: Tensor, finite: Tensor) -> None:
    """The same for an optimiser that takes no scale; it waits for the device."""
    keep = bool(finite)
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if keep:
            parameter.grad.mul_(scale)
        else:
            parameter.grad = None  # an optimiser passes over it: no decay, no moments, no step count
