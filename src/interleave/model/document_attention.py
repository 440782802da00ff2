"""Causal attention within each document of a packed row, for any language model of Transformers.

``register_attention()`` adds it under the name ``"documents"``. It builds no mask for packed rows: on a GPU in half
precision it runs the varlen kernel, elsewhere causal sdpa on one document after another. What a kernel cannot do (a
document longer than the sliding window without a window in the kernel, soft-capped scores, sinks) is computed exactly,
document by document. A call without ``segments`` is Transformers' own: generation, with its cache, its mask and its
left padding.
"""

import inspect
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "documents"
LARGEST_HEAD = 256
"""Dimensions of a head that the varlen kernel takes."""


class Segments(NamedTuple):
    """Where documents begin and end, worked out once a batch and read by every layer.

    lengths: of the runs of equal ``document``, row by row, padding included; each list sums to T.
    offsets: (number of runs + 1,) int32 borders in the flattened (B * T) tokens. longest: the longest run.
    """

    lengths: list[list[int]]
    offsets: Tensor
    longest: int


class Scores(NamedTuple):
    """How a layer turns queries and keys into weights.

    scale: of the products. window: how many tokens a query sees, itself included; None sees all before it. softcap:
    scores become softcap * tanh(scores / softcap). sinks: (H,) a score for each head that takes weight and gives
    nothing. dropout: share of the weights that are dropped.
    """

    scale: float | None = None
    window: int | None = None
    softcap: float | None = None
    sinks: Tensor | None = None
    dropout: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether sdpa's softmax is the layer's."""
        return self.softcap is None and self.sinks is None


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
    named = {"scale": "scaling", "window": "sliding_window", "softcap": "softcap", "sinks": "s_aux"}
    given = {ours: options.get(theirs) for ours, theirs in named.items()}
    scores = Scores(**given, dropout=options.get("dropout", 0.0))
    if segments is None:
        return _generation(module, query, key, value, attention_mask, scores, options), None
    query, key, value = _half(query, key, value)
    if _kernel_fits(query, value, scores):
        return _varlen(query, key, value, segments, scores), None
    rows = [
        torch.cat([_one(q, k, v, scores) for q, k, v in zip(*(x.split(lengths, 1) for x in row), strict=True)], 1)
        for *row, lengths in zip(query, key, value, segments.lengths, strict=True)
    ]
    return torch.stack(rows).transpose(1, 2), None


def _half(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Under autocast rotation leaves queries and keys in float32; sdpa would cast them itself, the kernel does not."""
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    return tuple(x.to(torch.get_autocast_dtype(kind)) for x in tensors)


def _kernel_fits(query: Tensor, value: Tensor, scores: Scores) -> bool:
    half = query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)
    return half and scores.plain and not scores.dropout and query.shape[-1] == value.shape[-1] <= LARGEST_HEAD


def _one(query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
    """One document: (H, T, d), (H', T, d) -> (H, T, d)."""
    length = query.shape[-2]
    window = scores.window if scores.window is not None and scores.window < length else None
    if scores.plain and window is None:
        grouped = query.shape[0] != key.shape[0]
        return F.scaled_dot_product_attention(
            query, key, value, dropout_p=scores.dropout, is_causal=True, scale=scores.scale, enable_gqa=grouped
        )
    return _exact(query, key, value, _band(length, window, query.device), scores)


def _band(length: int, window: int | None, device: torch.device) -> Tensor:
    """(T, T): whether a query (row) sees a key (column)."""
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return seen if window is None else seen.triu(1 - window)


def _exact(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, scores: Scores) -> Tensor:
    """(..., H, Q, d), (..., H', K, d) -> (..., H, Q, d), for masks and scores that the fast path does not know."""
    if (groups := query.shape[-3] // key.shape[-3]) > 1:
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    if scores.plain:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, dropout_p=scores.dropout, scale=scores.scale
        )
    scale = query.shape[-1] ** -0.5 if scores.scale is None else scores.scale
    weights = query @ key.transpose(-1, -2) * scale
    if scores.softcap is not None:
        weights = scores.softcap * torch.tanh(weights / scores.softcap)
    if seen is not None:
        weights = weights.masked_fill(~seen, torch.finfo(weights.dtype).min)
    if scores.sinks is not None:
        sinks = scores.sinks.to(weights.dtype).view(-1, 1, 1).expand(*weights.shape[:-1], 1)
        weights = torch.cat([weights, sinks], -1)
    shares = weights.float().softmax(-1)[..., : key.shape[-2]].to(value.dtype)
    return F.dropout(shares, scores.dropout) @ value


def _varlen(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scores: Scores) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    batch, heads, length, _ = query.shape
    groups = heads // key.shape[1]
    grouped: dict[str, Any] = {}
    if groups > 1 and _kernel_takes_groups():
        grouped = {"enable_gqa": True}
    elif groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    before = -1 if scores.window is None else scores.window - 1
    ends, longest = segments.offsets, segments.longest
    out = varlen_attn(
        q, k, v, ends, ends, longest, longest, scale=scores.scale, window_size=(before, 0), **grouped
    )  # fmt: skip
    assert isinstance(out, Tensor)
    return out.view(batch, length, heads, -1)


@cache
def _kernel_takes_groups() -> bool:
    """From torch 2.12."""
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in inspect.signature(varlen_attn).parameters


def _generation(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scores: Scores,
    options: dict[str, Any],
) -> Tensor:
    """(B, H, Q, d), (B, H', K, d) and Transformers' mask, True where a key is seen -> (B, Q, H, d).

    Without a mask a row is one document: a whole one, or one more token of it.
    """
    length = query.shape[-2]
    whole = mask is None and length == key.shape[-2]
    window = scores.window if whole and scores.window is not None and scores.window < length else None
    if scores.plain and window is None:
        out, _ = sdpa_attention_forward(module, query, key, value, mask, **options)
        assert isinstance(out, Tensor)
        return out
    seen = _band(length, window, query.device) if whole else mask
    return _exact(query, key, value, seen, scores).transpose(1, 2)


def _mask(*, attention_mask: Tensor | None = None, q_length: int, kv_length: int, **options: Any) -> Tensor | None:
    """None for packed rows, where ``attend`` needs no mask; sdpa's own for generation, also after a cache."""
    if attention_mask is None and q_length == kv_length:
        return None
    return sdpa_mask(attention_mask=attention_mask, q_length=q_length, kv_length=kv_length, **options)


def register_attention() -> str:
    """Make ``"documents"`` an attention implementation of Transformers and return that name."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, _mask)
    return NAME
