"""Which parts of a model learn, how fast, and how their learning rates change over the run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from ..core.errors import InputError, hint
from .dpo import DPO
from .lora import ADAPTER_MARK, Lora
from .small_states import SmallStateAdamW, SmallStates

PARTS = ("vision_encoder", "projector", "llm", "newline", "modality")
"""The parts of a model that have a learning rate of their own.

The learned newline lies within the llm, and has the llm's rate where it is given none.
"""
SCHEDULES: Mapping[str, Callable[..., LambdaLR]] = {
    "cosine": get_cosine_schedule_with_warmup,
    "linear": get_linear_schedule_with_warmup,
}
"""Both rise linearly from zero during the warm-up and fall to zero at the last step."""


@dataclass(frozen=True)
class Stage:
    """A training stage: which parts learn, at which rates, on which schedule. Raises InputError for an unknown part.

    lr: the peak learning rate of each part of the model; None freezes the part.
    weight_decay: AdamW's, of matrices only.
    betas: AdamW's.
    warmup: the share of all steps during which rates rise, 0 to 1.
    schedule: how rates fall to zero after the warm-up.
    optimizer_states: what AdamW's moments are kept in; None keeps them in the weights' dtype.
    lora: adapters on the llm, whose own weights are frozen then; ``lr.llm`` is the adapters' rate. None trains them.
    dpo: learn from preferred replies; None learns the next token.
    """

    lr: Mapping[str, float | None]
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.03
    schedule: Literal["cosine", "linear"] = "cosine"
    optimizer_states: SmallStates | None = None
    lora: Lora | None = None
    dpo: DPO | None = None

    def __post_init__(self) -> None:
        for part in self.lr:
            if part not in PARTS:
                raise InputError(f"stage.lr has no part {part!r}{hint(part, PARTS)}")
        if not any(self.lr.values()):
            raise InputError(f"stage.lr freezes all {len(PARTS)} parts; give at least one of them a rate")

    def rate(self, part: str) -> float | None:
        """The peak learning rate of a part; None where it is frozen."""
        default = self.lr.get("llm") if part == "newline" else None  # a part that lr leaves out is frozen
        return self.lr.get(part, default)


def parts(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """The parameters of an ``InterleavedModel``, by part and by full name; every name of ``PARTS`` is there."""
    found: dict[str, dict[str, nn.Parameter]] = {part: {} for part in PARTS}
    for name, parameter in model.named_parameters():
        part = "newline" if name == "llm.newline" else name.partition(".")[0]  # "llm.model.norm.weight" is llm's
        found[part][name] = parameter
    return found


def freeze(model: nn.Module, stage: Stage) -> None:
    """Let only those parameters take gradients that learn: not of a part without a rate, and of an llm with adapters
    only the adapters'."""
    for part, parameters in parts(model).items():
        for name, parameter in parameters.items():
            under_adapters = part == "llm" and stage.lora is not None and ADAPTER_MARK not in name
            parameter.requires_grad_(bool(stage.rate(part)) and not under_adapters)


def optimizer(model: nn.Module, stage: Stage) -> torch.optim.AdamW:
    """AdamW over what takes gradients: two groups a part, matrices with weight decay, vectors (norms, biases) without.

    A group's ``name`` is ``PART/matrices`` or ``PART/vectors``. Empty groups are left out.
    """
    groups: list[dict[str, object]] = []
    for part, parameters in parts(model).items():
        learning = [p for p in parameters.values() if p.requires_grad]
        # decay keeps weights small; a norm's scale and a bias have nothing to gain from values near zero
        matrices = [p for p in learning if p.ndim > 1]
        vectors = [p for p in learning if p.ndim <= 1]
        rate = stage.rate(part)
        if matrices:
            decay = stage.weight_decay
            groups.append({"params": matrices, "lr": rate, "weight_decay": decay, "name": f"{part}/matrices"})
        if vectors:
            groups.append({"params": vectors, "lr": rate, "weight_decay": 0.0, "name": f"{part}/vectors"})
    if stage.optimizer_states:
        return SmallStateAdamW(groups, stage.optimizer_states, stage.betas)
    # fused: one kernel for all, which also scales gradients, or skips the step, by numbers that lie on the device
    return torch.optim.AdamW(groups, betas=stage.betas, fused=True)


def schedule(optimizer: torch.optim.Optimizer, stage: Stage, num_steps: int) -> LambdaLR:
    """Rates that rise linearly to their peaks during the warm-up, then fall to zero at ``num_steps``."""
    warmup_steps = round(stage.warmup * num_steps)
    return SCHEDULES[stage.schedule](optimizer, warmup_steps, num_steps)
