"""The loss of heads that are a matrix and nothing else: the only place that forms its gradient by hand.

A choice takes (n, D) hidden states, the (vocabulary, D) weight and (n,) target ids, and returns the sum of the token
losses in float32. Every choice forms the gradients in the forward pass, so that no logits are kept or computed again.
"""

from collections.abc import Callable
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from ..core.errors import InputError

MatrixLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
CHUNK = 2048
"""Tokens whose logits are there at once: 0.6 GiB in bf16 with 150,000 entries, 1.2 GiB in float32."""
SOFTMAX_TOKENS = 128
"""Tokens whose logits are float32 at once, where they are kept in half precision."""
ROWS = 2**15
"""Rows of the weight whose gradient of a chunk is there at once in half precision, before it is added up."""


def matrix_loss(head: str, on_gpu: bool) -> MatrixLoss:
    """The choice of ``loss.head``. Raises InputError where this installation or the device lacks it."""
    if head == "torch":
        if not hasattr(torch.nn, "LinearCrossEntropyOptions"):
            raise InputError(
                f"loss.head=torch needs torch 2.14, and this is {torch.__version__}; take loss.head=chunks"
            )
        return torch_loss
    if head == "liger":
        if not on_gpu:
            raise InputError("loss.head=liger runs on a GPU alone; take loss.head=chunks or torch")
        if find_spec("liger_kernel") is None:
            raise InputError("loss.head=liger needs the package liger-kernel; pip install 'interleave[liger]'")
        return liger_loss
    return chunked_loss


def torch_loss(states: Tensor, weight: Tensor, ids: Tensor, chunk: int = CHUNK) -> Tensor:
    """torch's own, on any device; in half precision it rounds the loss, though not the gradients, to three digits."""
    dtype = _compute_dtype(weight)
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=chunk)
    loss = F.linear_cross_entropy(states.to(dtype), weight.to(dtype), ids, reduction="sum", options=options)
    return loss.to(_at_least_float32(dtype))


def liger_loss(states: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    """Liger-Kernel's, on a GPU; it waits for the device in the forward and in the backward pass."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    if not len(ids):  # its chunks would have no size
        return chunked_loss(states, weight, ids)
    dtype = _compute_dtype(weight)
    fused = LigerFusedLinearCrossEntropyLoss(reduction="sum", accum_dtype=torch.float32)
    loss: Tensor = fused(weight.to(dtype), states.to(dtype), ids)
    return loss


def chunked_loss(states: Tensor, weight: Tensor, ids: Tensor, chunk: int = CHUNK) -> Tensor:
    """Plain torch, on any device; the weight's gradient is added up over the chunks in float32."""
    if not torch.is_grad_enabled():  # else gradients would be formed for nothing
        states, weight = states.detach(), weight.detach()
    loss: Tensor = _ChunkedLoss.apply(states, weight, ids, chunk)
    return loss


class _ChunkedLoss(torch.autograd.Function):
    """(n, D), (vocabulary, D), (n,), a number of tokens -> a scalar. Its backward pass can run once."""

    @staticmethod
    def forward(ctx: FunctionCtx, states: Tensor, weight: Tensor, ids: Tensor, chunk: int) -> Tensor:
        of_states, of_weight = ctx.needs_input_grad[:2]  # type: ignore[attr-defined]
        dtype = _compute_dtype(weight)
        sums = _Sums(weight.to(dtype), of_states, of_weight, several=len(ids) > chunk)
        for some_states, some_ids in zip(states.to(dtype).split(chunk), ids.split(chunk), strict=True):
            sums.add(some_states, some_ids)
        ctx.gradients = sums.of_states, sums.of_weight  # type: ignore[attr-defined]
        ctx.dtypes = states.dtype, weight.dtype  # type: ignore[attr-defined]
        return sums.loss

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, scale: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        if ctx.gradients is None:  # type: ignore[attr-defined]
            raise RuntimeError("the loss's gradients are used up: its backward pass can run once")
        chunks, of_weight = ctx.gradients  # type: ignore[attr-defined]
        ctx.gradients = None  # type: ignore[attr-defined]
        states_dtype, weight_dtype = ctx.dtypes  # type: ignore[attr-defined]
        of_states = torch.cat(chunks).mul_(scale).to(states_dtype) if chunks else None
        return of_states, None if of_weight is None else of_weight.mul_(scale).to(weight_dtype), None, None


class _Sums:
    """What the chunks add up to.

    loss: scalar float32. of_states: a chunk's (c, D) gradient each. of_weight: (vocabulary, D), of several chunks in
    float32, since every further sum in half precision would round once more; of one chunk as it was computed.
    """

    def __init__(self, weight: Tensor, with_states: bool, with_weight: bool, several: bool) -> None:
        self.weight, self.with_states, self.with_weight = weight, with_states, with_weight
        self.loss = weight.new_zeros((), dtype=_at_least_float32(weight.dtype))
        self.of_states: list[Tensor] = []
        self.of_weight = torch.zeros_like(weight, dtype=self.loss.dtype) if with_weight and several else None

    def add(self, states: Tensor, ids: Tensor) -> None:
        """A chunk's (c, D) states and (c,) ids. Its logits become their own gradient in place."""
        logits = states @ self.weight.T  # (c, vocabulary)
        # what is float32 already needs no other memory, and is one piece
        piece = max(1, len(logits)) if logits.dtype == self.loss.dtype else SOFTMAX_TOKENS
        for some_logits, some_ids in zip(logits.split(piece), ids.split(piece), strict=True):
            self._softmax(some_logits, some_ids[:, None])
        if self.with_states:
            self.of_states.append(logits @ self.weight)
        if self.with_weight:
            self._add_to_weight(logits, states)

    def _softmax(self, logits: Tensor, target: Tensor) -> None:
        """Add the loss of (c, vocabulary) logits and (c, 1) targets, and write the gradient over the logits."""
        exact = logits.to(self.loss.dtype)  # the same tensor where the type is
        exact.sub_(exact.amax(-1, keepdim=True))  # so that no exponential overflows
        chosen = exact.gather(1, target)  # (c, 1)
        total = exact.exp_().sum(-1, keepdim=True)  # (c, 1)
        self.loss += (total.log() - chosen).sum()  # -log softmax
        if self.with_states or self.with_weight:
            # of cross-entropy: softmax - 1 at the target, softmax elsewhere
            logits.copy_(exact.div_(total).scatter_add_(1, target, torch.full_like(chosen, -1)))

    def _add_to_weight(self, gradient: Tensor, states: Tensor) -> None:
        """gradient: (c, vocabulary) of a chunk's logits. states: (c, D)."""
        if self.of_weight is None:
            self.of_weight = gradient.T @ states
        elif gradient.dtype == self.of_weight.dtype:
            self.of_weight.addmm_(gradient.T, states)
        else:
            for rows, some in zip(self.of_weight.split(ROWS), gradient.split(ROWS, dim=1), strict=True):
                rows += some.T @ states


def _compute_dtype(weight: Tensor) -> torch.dtype:
    """What a linear layer with this weight computes in."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
