"""Which parts learn, how fast, and how the rate changes over the run."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_cosine_schedule_with_warmup

from .registry import hint
from .types import InputError

PARTS = ("vision_encoder", "projector", "llm", "modality")


@dataclass(frozen=True)
class Stage:
    """A training stage.

    lr: peak rate of each part of the model; None freezes the part. warmup: as a share of all steps.
    """

    lr: Mapping[str, float | None]
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.03

    def __post_init__(self) -> None:
        for part in self.lr:
            if part not in PARTS:
                raise InputError(f"stage.lr has no part {part!r}{hint(part, PARTS)}")
        if not any(self.lr.values()):
            raise InputError(f"stage.lr freezes all {len(PARTS)} parts; give at least one of them a rate")


def freeze(model: nn.Module, stage: Stage) -> None:
    """Parts without a rate take no gradient."""
    for part in PARTS:
        model.get_submodule(part).requires_grad_(bool(stage.lr.get(part)))


def optimizer(model: nn.Module, stage: Stage) -> torch.optim.AdamW:
    """AdamW with two groups a part: matrices decay, vectors (norms, biases) do not."""
    groups = []
    for part in PARTS:
        learning = [p for p in model.get_submodule(part).parameters() if p.requires_grad]
        for kind, decay, chosen in (
            ("matrices", stage.weight_decay, [p for p in learning if p.ndim > 1]),
            ("vectors", 0.0, [p for p in learning if p.ndim <= 1]),
        ):
            if chosen:
                name = f"{part}/{kind}"
                groups.append({"params": chosen, "lr": stage.lr[part], "weight_decay": decay, "name": name})
    return torch.optim.AdamW(groups, betas=stage.betas)


def schedule(optimizer: torch.optim.Optimizer, stage: Stage, steps: int) -> LambdaLR:
    """Linear warm-up, then a cosine to zero at ``steps``."""
    rates: LambdaLR = get_cosine_schedule_with_warmup(optimizer, round(stage.warmup * steps), steps)
    return rates
