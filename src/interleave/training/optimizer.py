"""Which parts learn, how fast, and how the rate changes over the run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from ..core.errors import InputError, hint
from .dpo import DPO
from .lora import LEARNS, Lora

PARTS = ("vision_encoder", "projector", "llm", "newline", "modality")
"""What has a rate of its own. The learned newline lies in the llm and has the llm's rate where it has none."""
SCHEDULES: Mapping[str, Callable[..., LambdaLR]] = {
    "cosine": get_cosine_schedule_with_warmup,
    "linear": get_linear_schedule_with_warmup,
}


@dataclass(frozen=True)
class Stage:
    """A training stage.

    lr: peak rate of each part of the model; None freezes the part. schedule: how rates fall to zero after the warm-up.
    warmup: as a share of all steps. lora: adapters on the llm, which is frozen then; ``lr.llm`` is their rate.
    dpo: learn from preferred replies.
    """

    lr: Mapping[str, float | None]
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.03
    schedule: Literal["cosine", "linear"] = "cosine"
    lora: Lora | None = None
    dpo: DPO | None = None

    def __post_init__(self) -> None:
        for part in self.lr:
            if part not in PARTS:
                raise InputError(f"stage.lr has no part {part!r}{hint(part, PARTS)}")
        if not any(self.lr.values()):
            raise InputError(f"stage.lr freezes all {len(PARTS)} parts; give at least one of them a rate")

    def rate(self, part: str) -> float | None:
        """The peak rate of a part."""
        return self.lr.get(part, self.lr.get("llm") if part == "newline" else None)


def parts(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Each part's parameters by name."""
    found: dict[str, dict[str, nn.Parameter]] = {part: {} for part in PARTS}
    for name, parameter in model.named_parameters():
        part = "newline" if name == "llm.newline" else name.partition(".")[0]
        found[part][name] = parameter
    return found


def freeze(model: nn.Module, stage: Stage) -> None:
    """Parts without a rate take no gradient, nor does a language model with adapters."""
    for part, parameters in parts(model).items():
        for name, parameter in parameters.items():
            frozen = part == "llm" and stage.lora is not None and LEARNS not in name
            parameter.requires_grad_(bool(stage.rate(part)) and not frozen)


def optimizer(model: nn.Module, stage: Stage) -> torch.optim.AdamW:
    """AdamW with two groups a part: matrices decay, vectors (norms, biases) do not."""
    groups = []
    for part, parameters in parts(model).items():
        learning = [p for p in parameters.values() if p.requires_grad]
        for kind, decay, chosen in (
            ("matrices", stage.weight_decay, [p for p in learning if p.ndim > 1]),
            ("vectors", 0.0, [p for p in learning if p.ndim <= 1]),
        ):
            if chosen:
                name = f"{part}/{kind}"
                groups.append({"params": chosen, "lr": stage.rate(part), "weight_decay": decay, "name": name})
    return torch.optim.AdamW(groups, betas=stage.betas)


def schedule(optimizer: torch.optim.Optimizer, stage: Stage, steps: int) -> LambdaLR:
    """Linear warm-up, then down to zero at ``steps``."""
    return SCHEDULES[stage.schedule](optimizer, round(stage.warmup * steps), steps)
