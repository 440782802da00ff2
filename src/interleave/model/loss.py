"""The loss head: hidden states -> a sum of token losses, without ever holding all the logits."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..core.types import IGNORE, Batch

Head = Callable[[Tensor], Tensor]
"""(n, D) hidden states -> (n, vocabulary) logits."""
MAX_LOGITS = 2**26
"""How many logits one chunk may have: 256 MiB in float32."""


def next_token_loss(hidden: Tensor, labels: Tensor, head: Head, max_logits: int = MAX_LOGITS) -> tuple[Tensor, Tensor]:
    """Hidden states (B, T, D) and labels (B, T) -> the sum of the losses and the number of supervised tokens."""
    losses, supervised = token_losses(hidden, labels, head, max_logits)
    return losses.sum(), supervised.sum()


def token_losses(hidden: Tensor, labels: Tensor, head: Head, max_logits: int = MAX_LOGITS) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every supervised token.

    hidden: (B, T, D). labels: (B, T), ``IGNORE`` where nothing is learned; a position predicts the label of the next
    one. max_logits: above so many logits the head works in chunks, whose logits are computed again in the backward
    pass. Returns the losses (n,) and which of labels[:, 1:] they are of, (B, T - 1) bool.
    """
    targets = labels[:, 1:]  # (B, T - 1)
    supervised = targets != IGNORE  # (B, T - 1) bool
    # supervised positions are gathered first: in most batches they are a third of all
    hidden = hidden[:, :-1][supervised]  # (n, D)
    targets = targets[supervised]  # (n,)
    vocabulary = head(hidden[:1].detach()).shape[-1] if len(hidden) else 1
    size = max(1, max_logits // vocabulary)
    if len(hidden) <= size:
        return _cross_entropy(hidden, targets, head), supervised
    chunks = zip(hidden.split(size), targets.split(size), strict=True)
    losses = [checkpoint(_cross_entropy, h, t, head, use_reentrant=False) for h, t in chunks]
    return torch.cat(losses), supervised


def document_losses(hidden: Tensor, batch: Batch, head: Head) -> tuple[Tensor, Tensor]:
    """Sums of token losses and numbers of supervised tokens of each document, (B, documents + 1) each.

    hidden: (B, T, D). Column 0 is the padding; the others are the documents of a row in their order.
    """
    losses, supervised = token_losses(hidden, batch.labels, head)  # (n,), (B, T - 1)
    rows = len(batch.input_ids)
    columns = int(batch.document_ids.max()) + 1
    # a number for each document of each row, so that one index_add sums all of them
    row = torch.arange(rows, device=losses.device)[:, None]  # (B, 1)
    document = row * columns + batch.document_ids[:, 1:]  # (B, T - 1)
    zeros = losses.new_zeros(rows * columns)
    sums = zeros.index_add(0, document[supervised], losses)
    counts = zeros.index_add(0, document[supervised], torch.ones_like(losses))
    return sums.view(rows, columns), counts.view(rows, columns)


def _cross_entropy(hidden: Tensor, targets: Tensor, head: Head) -> Tensor:
    """(n, D), (n,) -> (n,), in float32 whatever the head computes in."""
    return F.cross_entropy(head(hidden).float(), targets, reduction="none")
