"""How sure a score is: intervals of means and paired comparisons. Nothing here knows a task, a file or a model."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from ..core.errors import InputError

DRAWS = 2000
LEVEL = 0.95
AT_ONCE = 2**22
"""Numbers drawn together, which bounds memory."""

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A mean of ``n`` scores and its 95% interval, which has no width where all scores are the same."""

    mean: float
    low: float
    high: float
    n: int


class Comparison(NamedTuple):
    """difference: B minus A, with its 95% interval. p: of a difference at least so large if there were none."""

    difference: float
    low: float
    high: float
    p: float
    n: int
    test: str


def interval(*groups: ArrayLike, seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean of the groups' means, each group resampled by itself. Raises InputError."""
    scores = [_scores(group) for group in groups]
    drawn = _means(scores, seed)
    return Interval(_mean(scores), *_bounds(drawn), n=sum(map(len, scores)))


def compare(*pairs: tuple[ArrayLike, ArrayLike], seed: int = 0) -> Comparison:
    """Scores (A, B) of the same items in the same order; the mean over pairs is compared, as in ``interval``.

    One pair of scores that are all 0 or 1 goes through McNemar's exact test, all else through the paired bootstrap.
    Raises InputError.
    """
    sides = [(_scores(a), _scores(b)) for a, b in pairs]
    if any(len(a) != len(b) for a, b in sides):
        raise InputError("a paired comparison needs the same items on both sides")
    changes = [b - a for a, b in sides]
    difference, drawn = _mean(changes), _means(changes, seed)
    n = sum(map(len, changes))
    if len(sides) == 1 and np.isin(np.concatenate(sides[0]), (0.0, 1.0)).all():
        better, worse = int((changes[0] > 0).sum()), int((changes[0] < 0).sum())
        p = float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
        return Comparison(difference, *_bounds(drawn), p, n, "McNemar")
    beyond = int((np.abs(drawn - difference) >= abs(difference) - 1e-12).sum())
    return Comparison(difference, *_bounds(drawn), (1 + beyond) / (1 + DRAWS), n, "paired bootstrap")


def verdict(found: Comparison, a: str = "A", b: str = "B") -> str:
    """In words and points of a hundred. A difference is claimed where p is below 0.05 and the interval is without 0."""
    sure = f"(95%: {100 * found.low:.1f} to {100 * found.high:.1f}), p = {_shown(found.p)}"
    points = f"{100 * abs(found.difference):.1f} points"
    if found.p < 1 - LEVEL and found.low * found.high > 0:
        return f"{b} is {'better' if found.difference > 0 else 'worse'} than {a} by {points} {sure}, {found.test}"
    none = f"no difference can be claimed with {found.n} items"
    if not found.difference:
        return f"{none}: both score the same {sure}, {found.test}"
    side = "above" if found.difference > 0 else "below"
    return f"{none}: {b} is {points} {side} {a} {sure}, {found.test}"


def _shown(p: float) -> str:
    return "0.001 or less" if p <= 0.001 else f"{p:.2g}"


def _scores(values: ArrayLike) -> Floats:
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise InputError(f"a mean needs a list of numbers; given are {scores.size} values")
    return scores


def _mean(groups: Sequence[Floats]) -> float:
    return float(np.mean([group.mean() for group in groups]))


def _means(groups: Sequence[Floats], seed: int) -> Floats:
    """(DRAWS,) means of the groups' means, every group drawn anew with replacement."""
    generator = np.random.default_rng(seed)
    drawn: Floats = np.mean([_resampled(group, generator) for group in groups], axis=0, dtype=np.float64)
    return drawn


def _resampled(scores: Floats, generator: np.random.Generator) -> Floats:
    rows = max(1, AT_ONCE // len(scores))
    counts = [min(rows, DRAWS - done) for done in range(0, DRAWS, rows)]
    return np.concatenate([scores[generator.integers(len(scores), size=(k, len(scores)))].mean(axis=1) for k in counts])


def _bounds(drawn: Floats) -> tuple[float, float]:
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
