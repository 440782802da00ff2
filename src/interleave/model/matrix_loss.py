"""The loss of heads that are a matrix and nothing else: the only place that forms its gradient by hand.

A choice takes (n, D) hidden states, the (vocabulary, D) weight and (n,) target ids, and returns the sum of the token
losses in float32. Every choice forms the gradients in the forward pass, so that no logits are kept or computed again.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

MatrixLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
CHUNK = 2048
"""Tokens of a chunk: 1.2 GiB of float32 logits with 150,000 entries."""


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
        sums = _Sums(weight.to(dtype), of_states, of_weight)
        for some_states, some_ids in zip(states.to(dtype).split(chunk), ids.split(chunk), strict=True):
            sums.add(some_states, some_ids)
        ctx.sums, ctx.dtypes = sums, (states.dtype, weight.dtype)  # type: ignore[attr-defined]
        return sums.loss

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, scale: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        sums, (states_dtype, weight_dtype) = ctx.sums, ctx.dtypes  # type: ignore[attr-defined]
        if sums is None:
            raise RuntimeError("the loss's gradients are used up: its backward pass can run once")
        ctx.sums = None  # type: ignore[attr-defined]
        of_states = torch.cat(sums.of_states).mul_(scale).to(states_dtype) if sums.of_states else None
        of_weight = sums.of_weight.mul_(scale).to(weight_dtype) if sums.of_weight is not None else None
        return of_states, of_weight, None, None


class _Sums:
    """What the chunks add up to.

    loss: scalar float32. of_states: a chunk's (c, D) gradient each. of_weight: (vocabulary, D) float32.
    """

    def __init__(self, weight: Tensor, with_states: bool, with_weight: bool) -> None:
        self.weight, self.with_states, self.with_weight = weight, with_states, with_weight
        self.loss = weight.new_zeros((), dtype=_at_least_float32(weight.dtype))
        self.of_states: list[Tensor] = []
        self.of_weight: Tensor | None = None

    def add(self, states: Tensor, ids: Tensor) -> None:
        """A chunk's (c, D) states and (c,) ids. Its logits become their own gradient in place."""
        logits = (states @ self.weight.T).to(self.loss.dtype)  # (c, vocabulary)
        logits.sub_(logits.amax(-1, keepdim=True))  # so that no exponential overflows
        target = ids[:, None]  # (c, 1)
        chosen = logits.gather(1, target)  # (c, 1)
        total = logits.exp_().sum(-1, keepdim=True)  # (c, 1)
        self.loss += (total.log() - chosen).sum()  # -log softmax
        if not (self.with_states or self.with_weight):
            return
        # of cross-entropy: softmax - 1 at the target, softmax elsewhere
        gradient = logits.div_(total).scatter_add_(1, target, torch.full_like(chosen, -1)).to(self.weight.dtype)
        if self.with_states:
            self.of_states.append(gradient @ self.weight)
        if self.with_weight:
            self._add_to_weight(gradient, states)

    def _add_to_weight(self, gradient: Tensor, states: Tensor) -> None:
        if self.of_weight is None:
            self.of_weight = (gradient.T @ states).to(self.loss.dtype)
        elif self.weight.dtype == self.of_weight.dtype:
            self.of_weight.addmm_(gradient.T, states)
        else:  # a product in half precision, added up in float32
            self.of_weight += gradient.T @ states


def _compute_dtype(weight: Tensor) -> torch.dtype:
    """What a linear layer with this weight computes in."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
