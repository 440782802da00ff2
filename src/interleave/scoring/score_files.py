"""The files that ``interleave score`` leaves: the released scorer's three, as it writes them, and ``clean.json``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TypedDict

from . import metrics
from .dataset_scores import Scores, by_task, mean_interval
from .interleave_bench import BENCH
from .result_file import ResultFile, ScoredItem
from .significance import Interval

CATEGORIES = ("spot_the_diff", "image_edit_instruct", "visual_story_telling", "visual_cloze", "text_rich_vqa",
              "multi_image_vqa", "puzzle", "nlvr2", "qbench")  # fmt: skip
"""Tasks that the released scorer writes, in its order."""

MetricIntervals = dict[str, dict[str, float] | None]
"""Metric -> mean, low, high and n of its interval; None where a data set has no score."""


class CleanTask(TypedDict):
    """A task in ``clean.json``."""

    datasets: list[str]
    missing: list[str]
    metrics: MetricIntervals


class Clean(TypedDict):
    """What ``clean.json`` holds."""

    datasets: dict[str, MetricIntervals]
    tasks: dict[str, CleanTask]


def write_scores(results: ResultFile, scores: Mapping[str, Scores], out: Path) -> None:
    """Write ``eval_cat.json``, ``eval_dataset.json``, ``eval_dataset_details.json`` and ``clean.json`` into ``out``.

    scores: those of every data set in ``results``. The released files hold only data sets whose question_type is known.
    """
    means: dict[str, float] = {}
    by_dataset: dict[str, dict[str, float]] = {}
    details: dict[str, list[dict[str, str]]] = {}
    for dataset, found in scores.items():
        question_type = results.question_type(dataset)
        if not question_type:
            continue
        is_open = question_type == "open-ended"
        means[dataset] = _published_mean(found["published"])
        by_dataset[dataset] = {"Rouge-L f" if is_open else "Accuracy": means[dataset]}
        details[dataset] = _details(results.items[dataset], found["published"], is_open)
    categories: dict[str, float] = {}
    for name in CATEGORIES:
        task = BENCH[name]
        if all(dataset in means for dataset in task.datasets):
            # every data set counts alike, however many items it has
            categories[task.released or name] = fmean(means[dataset] for dataset in task.datasets)
    files: dict[str, object] = {
        "eval_cat.json": categories,
        "eval_dataset.json": by_dataset,
        "eval_dataset_details.json": details,
        "clean.json": clean(scores),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=4), encoding="utf-8")


def _published_mean(scores: Sequence[float | None]) -> float:
    """Mean of the scores that there are; NaN where every truth is empty, as the released scorer writes it."""
    kept = [score for score in scores if score is not None]
    return fmean(kept) if kept else float("nan")


def _details(items: Sequence[ScoredItem], scores: Sequence[float | None], is_open: bool) -> list[dict[str, str]]:
    """Each item that has a score, with the score as text, as the released scorer writes it.

    ROUGE-L of a reply that has words is rounded to three digits; all other scores are whole numbers.
    """
    details = []
    for item, score in zip(items, scores, strict=True):
        if score is None:
            continue
        has_words = metrics.published_normalise(item.reply) != ""
        details.append({"id": item.sample_id, "score": str(round(score, 3) if is_open and has_words else int(score))})
    return details


def clean(scores: Mapping[str, Scores]) -> Clean:
    """Every metric with its 95% interval, for each data set and task; data sets that a task lacks are named."""
    tasks: dict[str, CleanTask] = {}
    for name, found in by_task(scores).items():
        datasets = BENCH[name].datasets
        tasks[name] = {
            "datasets": [dataset for dataset in datasets if dataset in scores],
            "missing": [dataset for dataset in datasets if dataset not in scores],
            "metrics": _intervals(found),
        }
    return {"datasets": {dataset: _intervals([found]) for dataset, found in scores.items()}, "tasks": tasks}


def _intervals(datasets: Sequence[Scores]) -> MetricIntervals:
    """Of each metric that all data sets have."""
    intervals: MetricIntervals = {}
    for metric in datasets[0]:
        if all(metric in scores for scores in datasets):
            intervals[metric] = _as_dict(mean_interval(datasets, metric))
    return intervals


def _as_dict(found: Interval | None) -> dict[str, float] | None:
    return found._asdict() if found else None
