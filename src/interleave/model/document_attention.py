"""Causal attention within each document of a packed row, for any language model of Transformers.

``register_attention()`` adds it under the name ``"documents"``. It builds no mask for packed rows: on a GPU in half
precision it runs the varlen kernel, elsewhere causal sdpa on one document after another. What a kernel cannot do is
computed exactly, document by document: a document longer than the sliding window without a window in the kernel,
soft-capped scores, sinks. A call without ``segments`` is Transformers' own: generation, with its cache, its mask and
its left padding.

Shapes: B rows of T tokens, H query heads, H' key and value heads (H is a multiple of H'), d dimensions a head.
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

from ..core.types import Segments
from .document_kernel import attend_documents, operator_takes

NAME = "documents"
MAX_HEAD_DIM = 256
"""Dimensions of a head that the varlen kernel takes."""


class Scoring(NamedTuple):
    """How a layer turns queries and keys into weights.

    scale: factor of the products; None is d ** -0.5.
    window: how many tokens a query sees, itself included; None sees all before it.
    softcap: scores become softcap * tanh(scores / softcap), as in Gemma 2.
    sinks: (H,) a score for each head that takes weight and gives nothing, as in gpt-oss.
    dropout: share of the weights that are dropped.
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


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segments: Segments | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What Transformers calls in every layer.

    query: (B, H, T, d), after rotation. key, value: (B, H', T, d). options: Transformers' names for what a layer has of
    its own. Returns (B, T, H, d), and no weights.
    """
    scoring = Scoring(
        scale=options.get("scaling"),
        window=options.get("sliding_window"),
        softcap=options.get("softcap"),
        sinks=options.get("s_aux"),
        dropout=options.get("dropout", 0.0),
    )
    if segments is None:
        return _generating(module, query, key, value, attention_mask, scoring, options), None
    query, key, value = _in_autocast_dtype(query, key, value)
    if _kernel_fits(query, value, scoring):
        return _varlen(query, key, value, segments, scoring), None
    if _operator_fits(query, value, segments, scoring):
        scale = query.shape[-1] ** -0.5 if scoring.scale is None else scoring.scale
        return attend_documents(query, key, value, segments.offsets, scale)[0], None
    return _document_by_document(query, key, value, segments, scoring), None


@torch.compiler.disable  # type: ignore[untyped-decorator]  # a compiled graph would be one for each row's lengths
def _document_by_document(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scoring: Scoring) -> Tensor:
    """(B, H, T, d), (B, H', T, d) twice -> (B, T, H, d)"""
    rows = []
    for row_query, row_key, row_value, lengths in zip(query, key, value, segments.lengths, strict=True):
        documents = zip(
            row_query.split(lengths, 1), row_key.split(lengths, 1), row_value.split(lengths, 1), strict=True
        )
        attended = [_one_document(q, k, v, scoring) for q, k, v in documents]
        rows.append(torch.cat(attended, 1))  # (H, T, d)
    return torch.stack(rows).transpose(1, 2)  # (B, T, H, d)


def _in_autocast_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Under autocast rotation leaves queries and keys in float32; sdpa would cast them itself, the kernel does not."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors)


def _kernel_fits(query: Tensor, value: Tensor, scoring: Scoring) -> bool:
    """Whether the varlen kernel computes what the layer asks for, on this device."""
    half = query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)
    return half and scoring.plain and not scoring.dropout and query.shape[-1] == value.shape[-1] <= MAX_HEAD_DIM


def _operator_fits(query: Tensor, value: Tensor, segments: Segments, scoring: Scoring) -> bool:
    """Whether the operator for a CPU computes what the layer asks for."""
    whole = scoring.window is None or scoring.window >= segments.longest
    return whole and scoring.plain and not scoring.dropout and operator_takes(query, value)


def _one_document(query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
    """Attention of one document by itself: (H, T, d), (H', T, d) twice -> (H, T, d)."""
    length = query.shape[-2]
    window = scoring.window if scoring.window is not None and scoring.window < length else None
    if scoring.plain and window is None:
        grouped = query.shape[0] != key.shape[0]
        return F.scaled_dot_product_attention(
            query, key, value, dropout_p=scoring.dropout, is_causal=True, scale=scoring.scale, enable_gqa=grouped
        )
    return _exact(query, key, value, _band(length, window, query.device), scoring)


def _band(length: int, window: int | None, device: torch.device) -> Tensor:
    """(T, T) bool: whether a query (row) sees a key (column), all before it or the last ``window`` of them."""
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return seen if window is None else seen.triu(1 - window)


def _exact(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, scoring: Scoring) -> Tensor:
    """Masks and scores that the fast path does not know, by the formula.

    query: (..., H, Q, d). key, value: (..., H', K, d). seen: bool, broadcastable to (..., H, Q, K). Returns
    (..., H, Q, d).
    """
    groups = query.shape[-3] // key.shape[-3]
    if groups > 1:  # every key head serves so many query heads
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    if scoring.plain:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, dropout_p=scoring.dropout, scale=scoring.scale
        )
    scale = query.shape[-1] ** -0.5 if scoring.scale is None else scoring.scale
    scores = query @ key.transpose(-1, -2) * scale  # (..., H, Q, K)
    if scoring.softcap is not None:
        scores = scoring.softcap * torch.tanh(scores / scoring.softcap)
    if seen is not None:
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    if scoring.sinks is not None:  # one more column, which takes its share of the softmax and has no value
        sinks = scoring.sinks.to(scores.dtype).view(-1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, sinks], -1)  # (..., H, Q, K + 1)
    weights = scores.float().softmax(-1)[..., : key.shape[-2]].to(value.dtype)  # (..., H, Q, K)
    return F.dropout(weights, scoring.dropout) @ value


def _varlen(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scoring: Scoring) -> Tensor:
    """All documents of all rows in one call of torch's kernel: (B, H, T, d) -> (B, T, H, d)."""
    from torch.nn.attention.varlen import varlen_attn

    batch, heads, length, _ = query.shape
    groups = heads // key.shape[1]
    grouped: dict[str, Any] = {}  # arguments that older kernels do not have
    if groups > 1 and _kernel_takes_groups():
        grouped = {"enable_gqa": True}
    elif groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    q, k, v = (tensor.transpose(1, 2).flatten(0, 1) for tensor in (query, key, value))  # (B * T, H, d)
    before = -1 if scoring.window is None else scoring.window - 1  # the kernel does not count the token itself
    ends, longest = segments.offsets, segments.longest
    out = varlen_attn(
        q, k, v, ends, ends, longest, longest, scale=scoring.scale, window_size=(before, 0), **grouped
    )  # fmt: skip
    assert isinstance(out, Tensor)
    return out.view(batch, length, heads, -1)


@cache
def _kernel_takes_groups() -> bool:
    """Whether the kernel repeats key heads itself; it does from torch 2.12."""
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in inspect.signature(varlen_attn).parameters


def _generating(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scoring: Scoring,
    options: dict[str, Any],
) -> Tensor:
    """One call of Transformers' ``generate``: (B, H, Q, d), (B, H', K, d) twice -> (B, Q, H, d).

    mask: Transformers' own, True where a key is seen. Without one a row is one document: a whole one, or one more token
    of it after a cache.
    """
    length = query.shape[-2]
    whole = mask is None and length == key.shape[-2]
    window = scoring.window if whole and scoring.window is not None and scoring.window < length else None
    if scoring.plain and window is None:
        out, _ = sdpa_attention_forward(module, query, key, value, mask, **options)
        assert isinstance(out, Tensor)
        return out
    seen = _band(length, window, query.device) if whole else mask
    return _exact(query, key, value, seen, scoring).transpose(1, 2)


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
