"""How the seconds of a training step grow with what is in it, as fitted exponents: 1 is linear, 0 does not grow."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..core.types import Batch, Example, VisionSpec, Visual
from ..inference.lm import LM
from ..model.interleaved_model import InterleavedModel
from ..processing.collate import collate
from .bench_models import SHAPES, random_lm
from .bench_table import BenchCell, BenchTable
from .effort import Effort
from .stopwatch import Side, alternate, growth_exponent

ENTRIES = 256
"""Token ids of made-up texts lie below."""


def compare_growth(effort: Effort) -> list[BenchTable]:
    """Steps over rows, one document, views and documents of growing sizes."""
    lm = random_lm(SHAPES[effort.shape])
    lm.model.train()
    sizes = [effort.tokens // 2**halvings for halvings in reversed(range(effort.sizes))]
    counts = [2**number for number in range(effort.sizes)]
    vision, whole = lm.vision, effort.tokens
    document = min(256, sizes[0])

    def view_row(number: int) -> Batch:
        return collate([[_shown(number, vision)]], counts[-1] * vision.tokens + document, vision)

    def many(number: int) -> Batch:
        return collate([[_text(whole // number) for _ in range(number)]], whole, vision)

    return [
        _grown(lm, f"row length, documents of {document} tokens", sizes,
               lambda n: collate([[_text(document) for _ in range(n // document)]], n, vision)),
        _grown(lm, "length of one document", sizes, lambda n: collate([[_text(n)]], n, vision)),
        _grown(lm, "views in a row of one length", counts, view_row),
        _grown(lm, f"documents in a row of {whole:,} tokens", counts, many),
    ]  # fmt: skip


def _grown(lm: LM, what: str, sizes: Sequence[int], batch: Callable[[int], Batch]) -> BenchTable:
    """Seconds of a step by size, three rounds in turn, and their exponent."""
    sides = {str(size): training_step(lm.model, batch(size)) for size in sizes}
    seconds = {int(name): spent for name, spent in alternate(sides, rounds=3).items()}
    return growth_table("growth", f"A step by {what}", seconds)


def growth_table(name: str, title: str, seconds: dict[int, float]) -> BenchTable:
    """A table of seconds by size, with the fitted exponent below."""
    rows: list[list[BenchCell]] = [[f"{size:,}", spent, 1e6 * spent / size] for size, spent in seconds.items()]
    note = f"exponent {growth_exponent(seconds):.2f}"
    return BenchTable(name, title, ("size", "seconds", "us for one"), rows, note)


def training_step(model: InterleavedModel, batch: Batch) -> Side:
    """Forward and backward over ``batch``, without an optimiser."""

    def step() -> None:
        loss, count = model.loss(batch)
        (loss / count).backward()
        model.zero_grad(set_to_none=True)

    return step


def _text(length: int) -> Example:
    """A document of ``length`` tokens, the last third of which is learned."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(0, ENTRIES, (length,), generator=generator)  # (T,)
    labels = ids.clone()
    labels[: 2 * length // 3] = -100
    return Example(ids, labels, _nowhere(), [])


def _shown(num_views: int, vision: VisionSpec) -> Example:
    """A document of so many views and twelve words behind them."""
    num_features = num_views * vision.tokens
    text = _text(12)
    pixels = torch.randint(0, 255, (num_views, 3, vision.size, vision.size), dtype=torch.uint8)
    ids = torch.cat([torch.zeros(num_features, dtype=torch.long), text.input_ids])  # (T,)
    labels = torch.cat([torch.full((num_features,), -100), text.labels])  # (T,)
    visual = Visual("image", pixels, [num_features])
    return Example(ids, labels, torch.arange(num_features), [visual])


def _nowhere() -> Tensor:
    return torch.zeros(0, dtype=torch.long)
