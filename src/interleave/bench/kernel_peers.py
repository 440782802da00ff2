"""The loss head and attention within documents, against plain ways of computing the same."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.types import IGNORE, Segments, Targets
from ..model.document_attention import attend
from ..model.loss import next_token_loss
from .bench_table import BenchCell, BenchTable
from .effort import Effort
from .stopwatch import Side, alternate

Computation = Callable[[], Tensor]
"""Makes a tensor that takes gradients."""
SUPERVISED = 0.3
"""Share of the tokens that are learned."""


def compare_loss_heads(effort: Effort) -> list[BenchTable]:
    """Forward and backward, for the hidden states and the head's weight, at widths and vocabularies of real models."""
    sizes = ((896, 37_984), (896, 151_936)) if effort.shape != "tiny" else ((16, 512),)
    tables = []
    for width, vocabulary in sizes:
        torch.manual_seed(0)
        head = nn.Linear(width, vocabulary, bias=False)
        hidden = torch.randn(1, effort.tokens, width, requires_grad=True)  # (B, T, D)
        labels = torch.randint(0, vocabulary, (1, effort.tokens))  # (B, T)
        labels[torch.rand(labels.shape) > SUPERVISED] = IGNORE
        losses = {name: float(loss().detach()) for name, loss in _losses(head, hidden, labels).items()}
        sides = {name: _with_backward(loss) for name, loss in _losses(head, hidden, labels).items()}
        seconds = alternate(sides, effort.rounds)
        rows: list[list[BenchCell]] = [
            [name, losses[name], spent, spent / seconds["ours"]] for name, spent in seconds.items()
        ]
        title = (
            f"Loss head, {effort.tokens:,} tokens, {SUPERVISED:.0%} learned, width {width}, vocabulary {vocabulary:,}"
        )
        tables.append(BenchTable("loss", title, ("", "loss", "seconds", "time / ours"), rows))
    return tables


def _losses(head: nn.Linear, hidden: Tensor, labels: Tensor) -> Mapping[str, Computation]:
    """The mean loss in several ways."""
    targets = Targets.of(labels, torch.ones_like(labels))
    next_ids = labels[:, 1:].flatten()  # (T - 1,)
    learned = next_ids != IGNORE

    def ours() -> Tensor:
        loss, count = next_token_loss(hidden, targets, head, head)
        return loss / count

    def all_logits() -> Tensor:
        return F.cross_entropy(head(hidden[0, :-1]), next_ids, ignore_index=IGNORE)

    def gathered() -> Tensor:
        return F.cross_entropy(head(hidden[0, :-1][learned]), next_ids[learned])

    def torch_own() -> Tensor:
        return F.linear_cross_entropy(hidden[0, :-1][learned], head.weight, next_ids[learned])

    ways: dict[str, Computation] = {
        "ours": ours,
        "logits of all tokens": all_logits,
        "of those that are learned": gathered,
    }
    if hasattr(F, "linear_cross_entropy"):  # from torch 2.13 on
        ways["torch's linear_cross_entropy"] = torch_own
    return ways


def compare_attention(effort: Effort) -> list[BenchTable]:
    """One layer, forward and backward, over documents of lognormal lengths in one packed row."""
    heads, width = (14, 64) if effort.shape != "tiny" else (2, 8)
    lengths = document_lengths(effort.tokens)
    torch.manual_seed(0)
    shape = (1, heads, effort.tokens, width)  # (B, H, T, d)
    query, key, value = (torch.randn(shape, requires_grad=True) for _ in range(3))
    ways = _attentions(query, key, value, lengths)
    results = {name: way().detach() for name, way in ways.items()}
    seconds = alternate({name: _with_backward(_summed(way)) for name, way in ways.items()}, effort.rounds)
    rows: list[list[BenchCell]] = []
    for name, spent in seconds.items():
        difference = float((results[name] - results["documents"]).abs().max())
        rows.append([name, difference, spent, spent / seconds["documents"]])
    title = f"Attention of one layer, {len(lengths)} documents in {effort.tokens:,} tokens, {heads} heads of {width}"
    return [BenchTable("attention", title, ("", "largest difference", "seconds", "time / ours"), rows)]


def document_lengths(tokens: int) -> list[int]:
    """Lengths of documents, lognormal around 256 tokens, that fill ``tokens``; the same every time."""
    generator = torch.Generator().manual_seed(0)
    lengths: list[int] = []
    while (left := tokens - sum(lengths)) > 0:
        drawn = float(torch.empty(1).log_normal_(5.5, 0.8, generator=generator))
        lengths.append(min(left, max(8, int(drawn))))
    return lengths


def _attentions(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Mapping[str, Computation]:
    """Attention within documents in several ways, each (B, T, H, d)."""
    segments, module = Segments.of([lengths]), nn.Module()
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))  # (T,)
    length = len(document)
    seen = (document[:, None] == document) & torch.ones(length, length, dtype=torch.bool).tril()  # (T, T)

    def documents() -> Tensor:
        return attend(module, query, key, value, None, segments)[0]

    def dense() -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=seen).transpose(1, 2)

    def padded() -> Tensor:
        q, k, v = (_one_a_row(tensor[0], lengths) for tensor in (query, key, value))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        whole = [one[:, :n] for one, n in zip(out, lengths, strict=True)]
        return torch.cat(whole, 1)[None].transpose(1, 2)

    return {"documents": documents, "a dense mask": dense, "padding to the longest": padded}


def _one_a_row(packed: Tensor, lengths: list[int]) -> Tensor:
    """(H, T, d) -> (documents, H, longest, d), padded at the end."""
    longest = max(lengths)
    documents = [F.pad(one, (0, 0, 0, longest - one.shape[-2])) for one in packed.split(lengths, 1)]
    return torch.stack(documents)


def _summed(way: Computation) -> Computation:
    return lambda: way().sum()


def _with_backward(loss: Computation) -> Side:
    return lambda: loss().backward()
