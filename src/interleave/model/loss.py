"""The loss head: hidden states -> a sum of token losses, without ever holding the logits of all tokens.

Shapes: n supervised tokens, D the width of the hidden states.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.types import Targets
from .matrix_loss import MatrixLoss, chunked_loss

Head = Callable[[Tensor], Tensor]
"""(n, D) hidden states -> (n, vocabulary) logits."""
RECOMPUTED = 512
"""Tokens of a chunk whose logits are computed again in the backward pass: about 1 GiB with 150,000 entries."""


def next_token_loss(
    hidden: Tensor,
    targets: Targets,
    head: Head,
    matrix: nn.Module | None = None,
    matrix_loss: MatrixLoss = chunked_loss,
) -> tuple[Tensor, Tensor]:
    """The sum of the losses and the number of supervised tokens, two scalars.

    hidden: (B, T, D). matrix: where the head is a matrix and nothing else, the module that holds it as ``weight``;
    ``matrix_loss`` works on it then. Every other head goes through ``token_losses``.
    """
    count = torch.full((), len(targets.ids), device=hidden.device)
    if matrix is None:
        return token_losses(hidden, targets, head).sum(), count
    states = _supervised(hidden, targets)  # (n, D)
    loss = _called(
        matrix, lambda states, ids: matrix_loss(states, matrix.get_parameter("weight"), ids), states, targets
    )
    return loss, count


def token_losses(
    hidden: Tensor, targets: Targets, head: Head, matrix: nn.Module | None = None, chunk: int = RECOMPUTED
) -> Tensor:
    """Cross-entropy of every supervised token, (n,), each with a gradient of its own weight.

    hidden: (B, T, D). matrix: as in ``next_token_loss``. chunk: above so many tokens the head works in chunks, whose
    logits are computed again in the backward pass.
    """
    states = _supervised(hidden, targets)  # (n, D)
    if matrix is None:
        return _in_chunks(states, targets.ids, head, chunk)
    own: Head = matrix.forward  # without the hooks, which run once around all chunks
    return _called(matrix, lambda states, ids: _in_chunks(states, ids, own, chunk), states, targets)


def document_losses(
    hidden: Tensor, targets: Targets, head: Head, matrix: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """Sums of token losses and numbers of supervised tokens of each document, (B, targets.columns) each.

    hidden: (B, T, D). matrix: as in ``next_token_loss``. Column 0 is the padding; the others are the documents of a row
    in their order.
    """
    losses = token_losses(hidden, targets, head, matrix)  # (n,)
    rows, columns = len(hidden), targets.columns
    zeros = losses.new_zeros(rows * columns)
    sums = zeros.index_add(0, targets.documents, losses)
    counts = zeros.index_add(0, targets.documents, torch.ones_like(losses))
    return sums.view(rows, columns), counts.view(rows, columns)


def _supervised(hidden: Tensor, targets: Targets) -> Tensor:
    """(B, T, D) -> (n, D): in most batches a third of all positions or less."""
    return hidden.flatten(0, 1).index_select(0, targets.positions)


def _in_chunks(states: Tensor, ids: Tensor, head: Head, chunk: int) -> Tensor:
    """(n, D), (n,) -> (n,)."""
    if len(states) <= chunk:
        return _cross_entropy(states, ids, head)
    chunks = zip(states.split(chunk), ids.split(chunk), strict=True)
    # no random numbers are drawn in a head, so their state need not be kept
    losses = [checkpoint(_cross_entropy, h, t, head, use_reentrant=False, preserve_rng_state=False) for h, t in chunks]
    return torch.cat(losses)


def _cross_entropy(states: Tensor, ids: Tensor, head: Head) -> Tensor:
    """(n, D), (n,) -> (n,), in float32 whatever the head computes in."""
    return F.cross_entropy(head(states).float(), ids, reduction="none")


def _called(matrix: nn.Module, forward: Callable[..., Tensor], states: Tensor, targets: Targets) -> Tensor:
    """``forward`` of the states and the target ids, as one call of ``matrix``, so that its hooks run: of a sharded
    module they gather the weight, and reduce its gradient. Every rank makes one call, whatever its number of tokens."""
    with _forward_is(matrix, forward):
        result: Tensor = matrix(states, targets.ids)
    return result


@contextmanager
def _forward_is(module: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    """Inside this block a call of ``module`` runs ``forward`` between the module's hooks."""
    own = module.__dict__.get("forward")  # an instance has one only where somebody else put it there
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own is not None:
            module.__dict__["forward"] = own
