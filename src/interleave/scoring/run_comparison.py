"""Two result files item by item: for each data set and task, whether the second run is better, in words."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..core.errors import InputError
from .dataset_scores import score_items, shown_metric
from .interleave_bench import BENCH
from .result_file import ResultFile, ScoredItem
from .significance import compare, verdict


class ItemPair(NamedTuple):
    """The same item in both runs."""

    a: ScoredItem
    b: ScoredItem


class PairedScores(NamedTuple):
    """Scores of the same items in both runs, in the same order."""

    a: list[float]
    b: list[float]


def comparison(a: ResultFile, b: ResultFile, version: str) -> Iterator[str]:
    """Lines for a person: each data set, each task of several data sets, then all items together.

    version: ``published`` or ``clean``, which metric is compared. Raises InputError where the files share no item, or
    score a data set by different metrics.
    """
    scored: dict[str, PairedScores] = {}
    num_alone = 0
    for dataset in {**a.items, **b.items}:  # those of the first file in its order, then what only the second has
        pairs, alone = paired(a.items.get(dataset, ()), b.items.get(dataset, ()))
        num_alone += alone
        scores = _paired_scores(a, b, dataset, pairs, version) if pairs else None
        if scores:
            scored[dataset] = scores
    if not scored:
        raise InputError(f"{a.path} and {b.path} have no item in common; items are paired by dataset and sample_id")
    names = str(a.path), str(b.path)
    for dataset, scores in scored.items():
        yield f"{dataset}: {verdict(compare(scores), *names)}"
    for task in BENCH.values():
        shared = [scored[dataset] for dataset in task.datasets if dataset in scored]
        if len(shared) > 1:
            yield f"{task.column}, {len(shared)} data sets: {verdict(compare(*shared), *names)}"
    together = PairedScores([], [])
    for scores in scored.values():
        together.a.extend(scores.a)
        together.b.extend(scores.b)
    yield f"all items: {verdict(compare(together), *names)}"
    if num_alone:
        yield f"{num_alone} items are in one of the files only and were not compared"


def _paired_scores(
    a: ResultFile, b: ResultFile, dataset: str, pairs: Sequence[ItemPair], version: str
) -> PairedScores | None:
    """Scores of a data set's pairs, by the metric of the first file; None where it leaves out every pair."""
    question_type = a.question_type(dataset)
    scores_a = score_items([pair.a for pair in pairs], question_type)
    scores_b = score_items([pair.b for pair in pairs], question_type)
    metric = shown_metric(scores_a, version)
    if metric not in scores_b:
        raise InputError(f"{dataset} has {metric} in {a.path} and {', '.join(scores_b)} in {b.path}")
    both = PairedScores([], [])
    for score_a, score_b in zip(scores_a[metric], scores_b[metric], strict=True):
        if score_a is not None and score_b is not None:
            both.a.append(score_a)
            both.b.append(score_b)
    return both if both.a else None


def paired(a: Sequence[ScoredItem], b: Sequence[ScoredItem]) -> tuple[list[ItemPair], int]:
    """Pair the items of a data set by sample_id, and count the items of either side that stay alone.

    Items that share a sample_id are paired in their order.
    """
    waiting: dict[str, list[ScoredItem]] = {}
    for item in reversed(b):  # so that pop() takes the first of several
        waiting.setdefault(item.sample_id, []).append(item)
    pairs: list[ItemPair] = []
    for item in a:
        if waiting.get(item.sample_id):
            pairs.append(ItemPair(item, waiting[item.sample_id].pop()))
    return pairs, len(a) + len(b) - 2 * len(pairs)
