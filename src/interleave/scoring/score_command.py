"""``interleave score``: result files -> the released scorer's three files, clean metrics, intervals, comparisons."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from ..core.errors import InputError
from ..scoring import metrics
from .interleave_bench import BENCH
from .result_file import Item, Results, read
from .significance import Interval, compare, interval, verdict

Scores = dict[str, list[float | None]]
"""Metric -> a score for each item of a data set, None where the metric leaves the item out."""
Sides = tuple[list[float], list[float]]
"""Scores of the same items in two runs."""
VERSIONS = ("published", "clean")
WRITTEN = ("spot_the_diff", "image_edit_instruct", "visual_story_telling", "visual_cloze", "text_rich_vqa",
           "multi_image_vqa", "puzzle", "nlvr2", "qbench")  # fmt: skip
"""Categories of the released scorer, in its order."""


def score_command(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="interleave score", description="Score a result file of any project.")
    parser.add_argument("result", type=Path, help="result.jsonl in the released form, or replies.jsonl of a run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the three released files and clean.json")
    parser.add_argument("--version", choices=VERSIONS, default="published", help="metric of the table and comparison")
    parser.add_argument("--against", type=Path, help="a second result file, compared item by item")
    asked = parser.parse_args(arguments)
    results = read(asked.result)
    scores = {dataset: score_items(items, results.question_type(dataset)) for dataset, items in results.items.items()}
    write(results, scores, asked.out)
    console = Console()
    console.print(table(scores, asked.version))
    if results.unanswered:
        console.print(f"{results.unanswered} lines have no reply or no score and count for nothing", soft_wrap=True)
    if asked.against:
        for line in comparison(results, read(asked.against), asked.version):
            console.print(line, soft_wrap=True, highlight=False)
    console.print(f"scores: {asked.out}", soft_wrap=True)


def score_items(items: Sequence[Item], question_type: str) -> Scores:
    """``published`` first, then clean metrics; those of the run itself where the type is not known."""
    if not question_type:
        return {metric: [item.scores.get(metric) for item in items] for metric in items[0].scores}
    pairs = [(item.reply, item.answer) for item in items]
    if question_type == "open-ended":
        return {
            "published": [metrics.published_rouge_l(*pair) for pair in pairs],
            "rouge_l": [metrics.rouge_l(*pair) if pair[1].strip() else None for pair in pairs],
            "token_f1": [metrics.token_f1(*pair) if pair[1].strip() else None for pair in pairs],
        }
    return {
        "published": [metrics.published_choice(*pair) for pair in pairs],
        "accuracy": [metrics.clean_choice(*pair) for pair in pairs],
    }


def write(results: Results, scores: Mapping[str, Scores], out: Path) -> None:
    """The released three files, as the released scorer writes them, and ``clean.json``."""
    types = {dataset: kind for dataset in scores if (kind := results.question_type(dataset))}
    of_open = {dataset: kind == "open-ended" for dataset, kind in types.items()}
    means = {dataset: _published_mean(scores[dataset]["published"]) for dataset in types}
    files: dict[str, Any] = {
        "eval_cat.json": {
            BENCH[name].released or name: fmean(means[dataset] for dataset in BENCH[name].datasets)
            for name in WRITTEN
            if all(dataset in means for dataset in BENCH[name].datasets)
        },
        "eval_dataset.json": {d: {"Rouge-L f" if of_open[d] else "Accuracy": mean} for d, mean in means.items()},
        "eval_dataset_details.json": {d: _details(results.items[d], scores[d]["published"], of_open[d]) for d in means},
        "clean.json": clean(scores),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=4), encoding="utf-8")


def _published_mean(scores: Sequence[float | None]) -> float:
    """NaN where every truth is empty, as there."""
    kept = [score for score in scores if score is not None]
    return fmean(kept) if kept else float("nan")


def _details(items: Sequence[Item], scores: Sequence[float | None], of_open: bool) -> list[dict[str, str]]:
    """Scores as text: whole numbers but for ROUGE-L of a reply that has words."""
    found = [(item, score) for item, score in zip(items, scores, strict=True) if score is not None]
    return [
        {"id": item.sample_id, "score": str(round(score, 3) if of_open and _says(item.reply) else int(score))}
        for item, score in found
    ]


def _says(reply: str) -> bool:
    return metrics.published_normalise(reply) != ""


def clean(scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Every metric with its 95% interval, for each data set and task; what is missing of a task is named."""
    tasks = {}
    for name, found in _tasks(scores).items():
        shared = [metric for metric in found[0] if all(metric in one for one in found)]
        present = [dataset for dataset in BENCH[name].datasets if dataset in scores]
        tasks[name] = {
            "datasets": present,
            "missing": [dataset for dataset in BENCH[name].datasets if dataset not in scores],
            "metrics": {metric: _as_dict(sure(found, metric)) for metric in shared},
        }
    sets = {d: {metric: _as_dict(sure([one], metric)) for metric in one} for d, one in scores.items()}
    return {"datasets": sets, "tasks": tasks}


def _tasks(scores: Mapping[str, Scores]) -> dict[str, list[Scores]]:
    """Scores of the data sets of each task of which there is one."""
    found = {name: [scores[d] for d in task.datasets if d in scores] for name, task in BENCH.items()}
    return {name: sets for name, sets in found.items() if sets}


def sure(sets: Sequence[Scores], metric: str) -> Interval | None:
    """Of the mean over data sets; None where one of them has no score."""
    groups = [[score for score in one[metric] if score is not None] for one in sets]
    return interval(*groups) if all(groups) else None


def _as_dict(found: Interval | None) -> dict[str, float] | None:
    return found._asdict() if found else None


def metric_of(scores: Scores, version: str) -> str:
    """The one that a table shows: the published one, or the first of the others."""
    others = [metric for metric in scores if metric != "published"]
    return "published" if version == "published" and "published" in scores else others[0]


def table(scores: Mapping[str, Scores], version: str) -> Table:
    """Tasks under the paper's names and in its order, then data sets that no task has."""
    drawn = Table(title=f"scores, {version}")
    for heading in ("task", "metric", "score", "95%", "items", "data sets"):
        drawn.add_column(heading, justify="left" if heading in ("task", "metric") else "right")
    for name, found in _tasks(scores).items():
        whole = len(BENCH[name].datasets)
        _row(
            drawn,
            BENCH[name].column,
            found,
            version,
            f"{len(found)}" if len(found) == whole else f"{len(found)} of {whole}",
        )
    for dataset, one in scores.items():
        if not any(dataset in task.datasets for task in BENCH.values()):
            _row(drawn, dataset, [one], version, "")
    return drawn


def _row(drawn: Table, name: str, found: Sequence[Scores], version: str, sets: str) -> None:
    metric = metric_of(found[0], version)
    if any(metric not in one for one in found):  # data sets of one task that are scored differently
        return drawn.add_row(name, "mixed", "", "", "", sets)
    value = sure(found, metric)
    label = next(m for m in found[0] if m != "published") if metric == "published" else metric
    shown = (
        [f"{100 * value.mean:.1f}", f"{100 * value.low:.1f} to {100 * value.high:.1f}", str(value.n)]
        if value
        else [""] * 3
    )
    return drawn.add_row(name, label, *shown, sets)


def comparison(a: Results, b: Results, version: str) -> Iterator[str]:
    """Lines of words: for each data set, each task of several, and all items, whether the second run is better."""
    sides: dict[str, Sides] = {}
    left = 0
    for dataset in {**a.items, **b.items}:
        pairs, alone = paired(a.items.get(dataset, ()), b.items.get(dataset, ()))
        left += alone
        if pairs and (found := _sides(a, b, dataset, pairs, version)):
            sides[dataset] = found
    if not sides:
        raise InputError(f"{a.path} and {b.path} have no item in common; items are paired by dataset and sample_id")
    names = str(a.path), str(b.path)
    for dataset, found in sides.items():
        yield f"{dataset}: {verdict(compare(found), *names)}"
    for task in BENCH.values():
        if len(shared := [sides[dataset] for dataset in task.datasets if dataset in sides]) > 1:
            yield f"{task.column}, {len(shared)} data sets: {verdict(compare(*shared), *names)}"
    together = (
        [score for one, _ in sides.values() for score in one],
        [score for _, one in sides.values() for score in one],
    )
    yield f"all items: {verdict(compare(together), *names)}"
    if left:
        yield f"{left} items are in one of the files only and were not compared"


def _sides(a: Results, b: Results, dataset: str, pairs: Sequence[tuple[Item, Item]], version: str) -> Sides | None:
    """Scores of the same items, as the first file scores them; None where the metric leaves all out."""
    kind = a.question_type(dataset)
    one, other = (score_items([pair[side] for pair in pairs], kind) for side in (0, 1))
    metric = metric_of(one, version)
    if metric not in other:
        raise InputError(f"{dataset} has {metric} in {a.path} and {', '.join(other)} in {b.path}")
    both = [(x, y) for x, y in zip(one[metric], other[metric], strict=True) if x is not None and y is not None]
    return ([x for x, _ in both], [y for _, y in both]) if both else None


def paired(a: Sequence[Item], b: Sequence[Item]) -> tuple[list[tuple[Item, Item]], int]:
    """Items of the same sample_id, those that occur often in their order; how many are left alone."""
    waiting: dict[str, list[Item]] = {}
    for item in reversed(b):
        waiting.setdefault(item.sample_id, []).append(item)
    pairs = [(item, waiting[item.sample_id].pop()) for item in a if waiting.get(item.sample_id)]
    return pairs, len(a) + len(b) - 2 * len(pairs)
