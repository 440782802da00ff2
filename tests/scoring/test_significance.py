"""Intervals cover, comparisons claim what is there, and no more."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from interleave.core.errors import InputError
from interleave.scoring.significance import Comparison, compare, interval, verdict


def test_the_interval_is_scipys_percentile_bootstrap() -> None:
    scores = np.random.default_rng(0).random(200) ** 2
    ours = interval(scores)
    theirs = bootstrap((scores,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert ours.mean == pytest.approx(scores.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert ours.n == 200
    assert interval(scores) == ours, "seeded"
    assert interval(scores, seed=1) != ours


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        found = interval(generator.random(100) < 0.6, seed=seed)
        covered += found.low <= 0.6 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


def test_groups_count_alike_whatever_their_size() -> None:
    found = interval([1.0] * 300, [0.0] * 3)
    assert (found.mean, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 303)


def test_large_groups_are_drawn_in_parts() -> None:
    scores = np.arange(30_000) % 2
    found = interval(scores)
    assert found.low < 0.5 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / 30_000**0.5, rel=0.15)


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [[1.0], [0.0]]])
def test_what_has_no_interval(scores: list[float]) -> None:
    with pytest.raises(InputError, match="a mean needs a list of numbers"):
        interval(scores)


def test_yes_or_no_scores_go_through_mcnemar() -> None:
    a = [1] * 50 + [0] * 20 + [1] * 5 + [0] * 25
    b = [1] * 50 + [1] * 20 + [0] * 5 + [0] * 25
    found = compare((a, b))
    assert found.test == "McNemar"
    assert found.difference == pytest.approx(0.15)
    assert found.p == pytest.approx(0.0040767, abs=1e-6)  # binomial, 20 of 25
    assert compare((a, a)).p == 1
    assert verdict(found, "old", "new").startswith("new is better than old by 15.0 points (95%: ")
    assert "p = 0.0041, McNemar" in verdict(found)
    assert verdict(compare((b, a)), "old", "new").startswith("new is worse than old by 15.0 points")


def test_other_scores_go_through_the_paired_bootstrap() -> None:
    generator = np.random.default_rng(0)
    a = generator.random(300)
    better, same = a + 0.05 + 0.1 * generator.standard_normal(300), a + 0.1 * generator.standard_normal(300)
    found = compare((a, better))
    assert (found.test, found.n) == ("paired bootstrap", 300)
    assert found.low < 0.05 < found.high
    assert found.p < 0.01
    assert verdict(compare((a, same))).startswith("no difference can be claimed with 300 items: B is ")


def test_pairs_matter() -> None:
    """A small steady gain is seen between runs whose scores vary much from item to item."""
    a = np.random.default_rng(0).random(100)
    assert compare((a, a + 0.01)).p < 0.01
    assert compare((a, np.roll(a, 1) + 0.01)).p > 0.05


def test_rarely_claims_what_is_not_there() -> None:
    generator = np.random.default_rng(0)
    claims = 0
    for seed in range(200):
        a, b = generator.random((2, 60))
        claims += verdict(compare((a, b), seed=seed)).startswith("B is")
    assert claims <= 20


def test_the_same_items_are_needed() -> None:
    with pytest.raises(InputError, match="same items"):
        compare(([1, 0], [1]))


def test_words() -> None:
    assert verdict(Comparison(0.0213, 0.004, 0.039, 0.0211, 300, "McNemar")) == (
        "B is better than A by 2.1 points (95%: 0.4 to 3.9), p = 0.021, McNemar"
    )
    assert verdict(Comparison(0.01, -0.001, 0.02, 0.04, 9, "McNemar")).startswith("no difference can be claimed with 9")
