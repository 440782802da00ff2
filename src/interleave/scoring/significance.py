"""How sure a score is: intervals of means and paired comparisons. Nothing here knows a task, a file or a model."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from ..core.errors import InputError

NUM_DRAWS = 2000
"""Bootstrap resamples of every interval and comparison."""
LEVEL = 0.95
"""Share of the resampled means that an interval holds."""
MOST_NUMBERS = 2**22
"""Numbers that are drawn in one call, which bounds memory."""

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A mean of ``n`` scores and its 95% interval, which has no width where all scores are the same."""

    mean: float
    low: float
    high: float
    n: int


class Comparison(NamedTuple):
    """How the scores of B differ from those of A.

    difference: mean of B minus mean of A.
    low, high: its 95% interval.
    p: probability of a difference at least so large if there were none.
    n: number of items.
    test: name of the test that gave p.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int
    test: str


def interval(*groups: ArrayLike, seed: int = 0) -> Interval:
    """The mean of the groups' means and its percentile bootstrap interval, each group resampled by itself.

    groups: scores (n,) each. Raises InputError where a group is empty or holds what is no number.
    """
    scores = [_scores(group) for group in groups]
    drawn = _resampled_means(scores, seed)  # (NUM_DRAWS,)
    low, high = _bounds(drawn)
    return Interval(_mean_of_means(scores), low, high, n=sum(map(len, scores)))


def compare(*pairs: tuple[ArrayLike, ArrayLike], seed: int = 0) -> Comparison:
    """Compare the scores of B with those of A, item by item.

    pairs: for each group of items, the scores (n,) of A and of B for the same items in the same order. As in
    ``interval``, the mean over groups counts. One group of scores that are all 0 or 1 goes through McNemar's exact
    test, all else through the paired bootstrap. Raises InputError.
    """
    sides = [(_scores(a), _scores(b)) for a, b in pairs]
    if any(len(a) != len(b) for a, b in sides):
        raise InputError("a paired comparison needs the same items on both sides")
    changes = [b - a for a, b in sides]
    difference = _mean_of_means(changes)
    drawn = _resampled_means(changes, seed)  # (NUM_DRAWS,)
    low, high = _bounds(drawn)
    n = sum(map(len, changes))
    if len(sides) == 1 and np.isin(np.concatenate(sides[0]), (0.0, 1.0)).all():
        return Comparison(difference, low, high, _mcnemar(changes[0]), n, "McNemar")
    # p = (1 + resamples at least as far from the difference as 0 is) / (1 + resamples); 1e-12 allows for rounding
    beyond = int((np.abs(drawn - difference) >= abs(difference) - 1e-12).sum())
    return Comparison(difference, low, high, (1 + beyond) / (1 + NUM_DRAWS), n, "paired bootstrap")


def _mcnemar(change: Floats) -> float:
    """McNemar's exact p: of the items that changed, as many became better as a fair coin would make them."""
    better, worse = int((change > 0).sum()), int((change < 0).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def verdict(found: Comparison, a: str = "A", b: str = "B") -> str:
    """A comparison as a sentence, in points of a hundred. a, b: names of the two sides.

    A difference is claimed where p is below 0.05 and the interval is without 0.
    """
    certainty = f"(95%: {100 * found.low:.1f} to {100 * found.high:.1f}), p = {_p_as_text(found.p)}"
    points = f"{100 * abs(found.difference):.1f} points"
    if found.p < 1 - LEVEL and found.low * found.high > 0:  # both ends have the same sign
        return f"{b} is {'better' if found.difference > 0 else 'worse'} than {a} by {points} {certainty}, {found.test}"
    none = f"no difference can be claimed with {found.n} items"
    if not found.difference:
        return f"{none}: both score the same {certainty}, {found.test}"
    side = "above" if found.difference > 0 else "below"
    return f"{none}: {b} is {points} {side} {a} {certainty}, {found.test}"


def _p_as_text(p: float) -> str:
    return "0.001 or less" if p <= 0.001 else f"{p:.2g}"


def _scores(values: ArrayLike) -> Floats:
    """(n,) scores as numbers. Raises InputError where there are none, or where one is not finite."""
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise InputError(f"a mean needs a list of numbers; given are {scores.size} values")
    return scores


def _mean_of_means(groups: Sequence[Floats]) -> float:
    return float(np.mean([group.mean() for group in groups]))


def _resampled_means(groups: Sequence[Floats], seed: int) -> Floats:
    """(NUM_DRAWS,) means of the groups' means, every group drawn anew with replacement."""
    generator = np.random.default_rng(seed)
    drawn: Floats = np.mean([_group_means(group, generator) for group in groups], axis=0, dtype=np.float64)
    return drawn


def _group_means(scores: Floats, generator: np.random.Generator) -> Floats:
    """(NUM_DRAWS,) means of n scores that are drawn from n with replacement, in as many calls as memory asks for."""
    most_rows = max(1, MOST_NUMBERS // len(scores))
    means: list[Floats] = []
    for done in range(0, NUM_DRAWS, most_rows):
        rows = min(most_rows, NUM_DRAWS - done)
        chosen = generator.integers(len(scores), size=(rows, len(scores)))  # (rows, n)
        means.append(scores[chosen].mean(axis=1))
    return np.concatenate(means)


def _bounds(drawn: Floats) -> tuple[float, float]:
    """The 2.5% and 97.5% quantiles of resampled means."""
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
