"""Causal attention of all documents of packed rows as one operator, on a CPU.

torch's own kernel for a CPU takes one document at a time. As an operator of ours the loop over documents is one node of
a compiled graph, which no document's length can invalidate, and one entry for selective checkpointing to keep; results
and gradients are written straight into their places.

Shapes: B rows of T tokens, H query heads, H' key and value heads (H is a multiple of H'), d dimensions a head.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

Index = tuple[slice, slice, slice]
_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def operator_takes(query: Tensor, value: Tensor) -> bool:
    """Whether ``attend_documents`` can work on such tensors."""
    floats = (torch.float32, torch.bfloat16, torch.float16)
    return query.device.type == "cpu" and query.dtype in floats and query.shape[-1] == value.shape[-1]


@torch.library.custom_op("interleave::attend_documents", mutates_args=())
def attend_documents(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Softmax attention, each token to those of its document up to itself.

    query: (B, H, T, d). key, value: (B, H', T, d). offsets: (documents + 1,) borders in the flattened (B * T) tokens,
    among them every row's. Returns (B, T, H, d), and for the backward pass the log of the softmax's sums, (B, T, H).
    """
    out, sums = _outputs(query, key, value, offsets, scale)
    for at in _documents(offsets, query.shape[2]):
        document, log_sums = _forward(query[at], key[at], value[at], 0.0, True, scale=scale)
        out.transpose(1, 2)[at] = document
        sums.transpose(1, 2)[at] = log_sums
    return out, sums


@attend_documents.register_fake
def _outputs(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    batch, heads, length, width = query.shape
    out = query.new_empty(batch, length, heads, width)
    return out, query.new_empty(batch, length, heads, dtype=torch.float32)


@torch.library.custom_op("interleave::attend_documents_backward", mutates_args=())
def _gradients(gradient: Tensor, kept: Sequence[Tensor], scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of query, key and value, in their shapes.

    gradient: of the output. kept: query, key, value, output, sums and offsets, as in ``attend_documents``.
    """
    query, key, value, out, sums, offsets = kept
    results = _heads_last(query), _heads_last(key), _heads_last(value)
    gradient, out, sums = gradient.transpose(1, 2), out.transpose(1, 2), sums.transpose(1, 2)  # (B, H, T, ...)
    for at in _documents(offsets, query.shape[2]):
        inputs = gradient[at], query[at], key[at], value[at], out[at], sums[at]
        for result, document in zip(results, _backward(*inputs, 0.0, True, scale=scale), strict=True):
            result[at] = document
    return results


@_gradients.register_fake
def _gradient_outputs(gradient: Tensor, kept: Sequence[Tensor], scale: float) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = kept[:3]
    return _heads_last(query), _heads_last(key), _heads_last(value)


def _heads_last(like: Tensor) -> Tensor:
    """An empty (B, H, T, d) tensor whose heads lie side by side for each token, as the products before it make them."""
    batch, heads, length, width = like.shape
    return like.new_empty(batch, length, heads, width).transpose(1, 2)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, offsets, ctx.scale = inputs
    ctx.save_for_backward(query, key, value, *output, offsets)


def _propagate(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    gradients: tuple[Tensor, Tensor, Tensor] = _gradients(gradient, ctx.saved_tensors, ctx.scale)
    return *gradients, None, None


attend_documents.register_autograd(_propagate, setup_context=_keep)


def _documents(offsets: Tensor, length: int) -> Iterator[Index]:
    """Where each document lies in (B, H, T, ...)."""
    for start, end in pairwise(offsets.tolist()):
        if start == end:
            continue
        row, begin = divmod(start, length)
        yield slice(row, row + 1), slice(None), slice(begin, begin + end - start)


@register_flop_formula(torch.ops.interleave.attend_documents, get_raw=True)
def _flops(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, scale: float, **options: object) -> int:
    """What torch's counter of FLOPs counts: two products of each document's square, as it does for sdpa."""
    squares = int(offsets.long().diff().square().sum())
    return 2 * 2 * query.shape[1] * squares * query.shape[3]


@register_flop_formula(torch.ops.interleave.attend_documents_backward, get_raw=True)
def _backward_flops(gradient: Tensor, kept: Sequence[Tensor], scale: float, **options: object) -> int:
    """Four products; the scores, which the kernel computes once more, are not counted."""
    query, key, value, *_, offsets = kept
    return 2 * int(_flops(query, key, value, offsets, scale))
