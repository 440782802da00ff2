"""The loss head: hidden states -> a sum of token losses, without ever holding all the logits."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..core.types import IGNORE, Batch

LOGITS = 2**26
"""How many logits one chunk may have: 256 MiB in float32."""


def next_token_loss(
    hidden: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor], logits: int = LOGITS
) -> tuple[Tensor, Tensor]:
    """Hidden states (B, T, D) and labels (B, T) -> sum of the losses and number of supervised tokens."""
    losses, supervised = token_losses(hidden, labels, head, logits)
    return losses.sum(), supervised.sum()


def token_losses(
    hidden: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor], logits: int = LOGITS
) -> tuple[Tensor, Tensor]:
    """Losses (n,) of the supervised tokens, and which of labels[:, 1:] they are, (B, T - 1) bool.

    A position predicts the label of the next one. Supervised positions are gathered first; where they have more than
    ``logits`` logits they go through the head in chunks whose logits are computed again in the backward pass.
    """
    targets = labels[:, 1:]
    supervised = targets != IGNORE
    hidden, targets = hidden[:, :-1][supervised], targets[supervised]
    vocabulary = head(hidden[:1].detach()).shape[-1] if len(hidden) else 1
    size = max(1, logits // vocabulary)
    if len(hidden) <= size:
        return _losses(hidden, targets, head), supervised
    parts = [
        checkpoint(_losses, h, t, head, use_reentrant=False)
        for h, t in zip(hidden.split(size), targets.split(size), strict=True)
    ]
    return torch.cat(parts), supervised


def document_losses(hidden: Tensor, batch: Batch, head: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Sums of token losses and numbers of supervised tokens of each document, (B, documents + 1); 0 is padding."""
    losses, supervised = token_losses(hidden, batch.labels, head)
    rows, columns = len(batch.input_ids), int(batch.document_ids.max()) + 1
    of = torch.arange(rows, device=losses.device)[:, None] * columns + batch.document_ids[:, 1:]
    zeros = losses.new_zeros(rows * columns)
    sums = zeros.index_add(0, of[supervised], losses)
    counts = zeros.index_add(0, of[supervised], torch.ones_like(losses))
    return sums.view(rows, columns), counts.view(rows, columns)


def _losses(hidden: Tensor, targets: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    return F.cross_entropy(head(hidden).float(), targets, reduction="none")
