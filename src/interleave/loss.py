"""The loss head: hidden states -> a sum of token losses, without ever holding all the logits."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .types import IGNORE

LOGITS = 2**26
"""How many logits one chunk may have: 256 MiB in float32."""


def next_token_loss(
    hidden: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor], logits: int = LOGITS
) -> tuple[Tensor, Tensor]:
    """Hidden states (B, T, D) and labels (B, T) -> sum of the losses and number of supervised tokens.

    A position predicts the label of the next one. Supervised positions are gathered first; where they have more than
    ``logits`` logits they go through the head in chunks whose logits are computed again in the backward pass.
    """
    targets = labels[:, 1:].flatten()
    supervised = targets != IGNORE
    hidden, targets = hidden[:, :-1].flatten(0, 1)[supervised], targets[supervised]
    vocabulary = head(hidden[:1].detach()).shape[-1] if len(hidden) else 1
    size = max(1, logits // vocabulary)
    if len(hidden) <= size:
        return _sum(hidden, targets, head), supervised.sum()
    parts = [
        checkpoint(_sum, h, t, head, use_reentrant=False)
        for h, t in zip(hidden.split(size), targets.split(size), strict=True)
    ]
    return torch.stack(parts).sum(), supervised.sum()


def _sum(hidden: Tensor, targets: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    return F.cross_entropy(head(hidden).float(), targets, reduction="sum")
