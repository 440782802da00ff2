"""Scores of a data set: which metrics its items get, and the mean of a metric over data sets with its interval."""

from collections.abc import Mapping, Sequence

from . import metrics
from .interleave_bench import BENCH
from .result_file import ScoredItem
from .significance import Interval, interval

Scores = dict[str, list[float | None]]
"""Metric -> a score for each item of a data set, None where the metric leaves the item out."""


def score_items(items: Sequence[ScoredItem], question_type: str) -> Scores:
    """``published`` first, then the clean metrics of the type; where it is empty, the metrics that the run gave."""
    if not question_type:
        return {metric: [item.scores.get(metric) for item in items] for metric in items[0].scores}
    if question_type == "open-ended":
        scores: Scores = {"published": [], "rouge_l": [], "token_f1": []}
        for item in items:
            scores["published"].append(metrics.published_rouge_l(item.reply, item.answer))
            has_answer = item.answer.strip() != ""  # without a truth there is nothing to compare with
            scores["rouge_l"].append(metrics.rouge_l(item.reply, item.answer) if has_answer else None)
            scores["token_f1"].append(metrics.token_f1(item.reply, item.answer) if has_answer else None)
        return scores
    return {
        "published": [metrics.published_choice(item.reply, item.answer) for item in items],
        "accuracy": [metrics.clean_choice(item.reply, item.answer) for item in items],
    }


def shown_metric(scores: Scores, version: str) -> str:
    """The metric that a table shows: ``published`` where that is the version and there is one, else the first other."""
    others = [metric for metric in scores if metric != "published"]
    return "published" if version == "published" and "published" in scores else others[0]


def by_task(scores: Mapping[str, Scores]) -> dict[str, list[Scores]]:
    """Data set -> scores becomes task of the benchmark -> scores of those of its data sets that are there.

    Tasks without any are left out.
    """
    tasks: dict[str, list[Scores]] = {}
    for name, task in BENCH.items():
        present = [scores[dataset] for dataset in task.datasets if dataset in scores]
        if present:
            tasks[name] = present
    return tasks


def mean_interval(datasets: Sequence[Scores], metric: str) -> Interval | None:
    """The mean over data sets of their mean score, in 0..1; None where one of them has no score at all."""
    groups: list[list[float]] = []
    for scores in datasets:
        groups.append([score for score in scores[metric] if score is not None])
    return interval(*groups) if all(groups) else None
