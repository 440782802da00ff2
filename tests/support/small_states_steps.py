"""A small regression and the optimisers that learn it."""

import torch
from torch import nn

from interleave.training.small_states import SmallStateAdamW, SmallStates

STATES: tuple[SmallStates, ...] = ("bfloat16", "8bit")


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(256, 128), nn.Tanh(), nn.Linear(128, 25))


def adamw(model: nn.Module, states: SmallStates | None) -> torch.optim.AdamW:
    groups: list[dict[str, object]] = [
        {"params": list(model.parameters()), "lr": 1e-3, "weight_decay": 0.01, "name": "all"}
    ]
    return SmallStateAdamW(groups, states) if states else torch.optim.AdamW(groups, fused=True)


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """Losses of a regression on fixed data."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 256, generator=generator)
    targets = torch.tanh(inputs @ torch.randn(256, 25, generator=generator) / 16)
    losses: list[float] = []
    for _ in range(steps):
        loss = (model(inputs) - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses
