"""Causal attention within each document of a packed row, for any language model of Transformers.

``register()`` adds it under the name ``"documents"``. It never builds a mask: on a CPU it runs causal sdpa on one
document after another, on a GPU in half precision the varlen kernel. A call without ``segments`` is Transformers' own
sdpa with its own mask: that is generation, with its cache and left padding.
"""

import inspect
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "documents"


class Segments(NamedTuple):
    """Where documents begin and end, worked out once a batch and read by every layer.

    lengths: of the runs of equal ``document``, row by row, padding included; each list sums to T.
    offsets: (number of runs + 1,) int32 borders in the flattened (B * T) tokens. longest: the longest run.
    """

    lengths: list[list[int]]
    offsets: Tensor
    longest: int


def segments(document: Tensor) -> Segments:
    """(B, T) -> its runs."""
    lengths = [torch.unique_consecutive(row, return_counts=True)[1].tolist() for row in document.cpu()]
    flat = torch.tensor([0, *(n for row in lengths for n in row)])
    offsets = flat.cumsum(0).to(device=document.device, dtype=torch.int32)
    return Segments(lengths, offsets, int(flat.max()))


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segments: Segments | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """query (B, H, T, d), key and value (B, H', T, d), H a multiple of H' -> (B, T, H, d)."""
    if segments is None:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return out, None
    scale = options.get("scaling")
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        return _varlen(query, key, value, segments, scale), None
    rows = [
        torch.cat([_causal(q, k, v, scale) for q, k, v in zip(*(x.split(lengths, 1) for x in row), strict=True)], 1)
        for *row, lengths in zip(query, key, value, segments.lengths, strict=True)
    ]
    return torch.stack(rows).transpose(1, 2), None


def _causal(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    grouped = query.shape[0] != key.shape[0]
    return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=grouped)


def _varlen(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    batch, heads, length, _ = query.shape
    groups = heads // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) if groups > 1 else x for x in (key, value))
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    # torch 2.10 calls it is_causal, later ones describe a window
    causal: dict[str, Any] = (
        {"window_size": (-1, 0)} if "window_size" in inspect.signature(varlen_attn).parameters else {"is_causal": True}
    )
    ends, longest = segments.offsets, segments.longest
    out = varlen_attn(q, k, v, ends, ends, longest, longest, scale=scale, **causal)
    assert isinstance(out, Tensor)
    return out.view(batch, length, heads, -1)


def _mask(*, attention_mask: Tensor | None = None, **options: Any) -> Tensor | None:
    """None for packed rows, where ``attend`` needs no mask; sdpa's own for generation."""
    if attention_mask is None:
        return None
    return sdpa_mask(attention_mask=attention_mask, **options)


def register() -> str:
    """Make ``"documents"`` an attention implementation of Transformers and return that name."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, _mask)
    return NAME
