"""What selective activation checkpointing keeps of a block, so that its backward pass need not compute it again."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

ATTENTION = ("interleave::attend_documents", "torch_attn::_varlen_attn", "aten::_scaled_dot_product_")
"""What names of attention's operators begin with, on any device."""
PRODUCTS = {torch.ops.aten.mm.default: (0, 1), torch.ops.aten.addmm.default: (1, 2)}
"""The operators behind linear layers, and which of their arguments are the factors (n, K) and (K, N)."""


def keep(context: object, operator: Any, *arguments: Any, **options: Any) -> CheckpointPolicy:
    """Attention's output, and products that are wider than what goes in.

    Attention costs most for what it leaves: T x T work for T x D numbers. Of the products those into an MLP's inner
    width are the large ones (gate and up, or the first of two): half of a block's work or more. The last product of
    the MLP is never computed again: nothing in the backward pass needs what it makes.
    """
    factors = PRODUCTS.get(operator)
    if factors is not None:
        right: Tensor = arguments[factors[1]]  # (K, N)
        wider = right.shape[1] > right.shape[0]
        return CheckpointPolicy.MUST_SAVE if wider else CheckpointPolicy.PREFER_RECOMPUTE
    attention = operator.name().startswith(ATTENTION)
    return CheckpointPolicy.MUST_SAVE if attention else CheckpointPolicy.PREFER_RECOMPUTE


def selective_contexts() -> tuple[Any, Any]:
    """The contexts of a block's first and second computation, for ``torch.utils.checkpoint``."""
    contexts: tuple[Any, Any] = create_selective_checkpoint_contexts(keep)
    return contexts
