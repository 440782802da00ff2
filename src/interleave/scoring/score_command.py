"""``interleave score``: result files -> the released scorer's three files, clean metrics, intervals, comparisons."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .dataset_scores import Scores, by_task, mean_interval, score_items, shown_metric
from .interleave_bench import BENCH
from .result_file import read_result_file
from .run_comparison import comparison
from .score_files import write_scores

VERSIONS = ("published", "clean")


def score_command(arguments: Sequence[str]) -> None:
    """Score a result file, print the table, and compare it with a second file if one is given. Raises InputError."""
    parser = argparse.ArgumentParser(prog="interleave score", description="Score a result file of any project.")
    parser.add_argument("result", type=Path, help="result.jsonl in the released form, or replies.jsonl of a run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the three released files and clean.json")
    parser.add_argument("--version", choices=VERSIONS, default="published", help="metric of the table and comparison")
    parser.add_argument("--against", type=Path, help="a second result file, compared item by item")
    options = parser.parse_args(arguments)
    results = read_result_file(options.result)
    scores: dict[str, Scores] = {}
    for dataset, items in results.items.items():
        scores[dataset] = score_items(items, results.question_type(dataset))
    write_scores(results, scores, options.out)
    console = Console()
    console.print(score_table(scores, options.version))
    if results.unanswered:
        console.print(f"{results.unanswered} lines have no reply or no score and count for nothing", soft_wrap=True)
    if options.against:
        for line in comparison(results, read_result_file(options.against), options.version):
            console.print(line, soft_wrap=True, highlight=False)
    console.print(f"scores: {options.out}", soft_wrap=True)


def score_table(scores: Mapping[str, Scores], version: str) -> Table:
    """Tasks of the benchmark under the paper's names and in its order, then data sets that belong to no task."""
    table = Table(title=f"scores, {version}")
    for heading in ("task", "metric", "score", "95%", "items", "data sets"):
        table.add_column(heading, justify="left" if heading in ("task", "metric") else "right")
    for name, found in by_task(scores).items():
        whole = len(BENCH[name].datasets)
        present = f"{len(found)}" if len(found) == whole else f"{len(found)} of {whole}"
        _add_row(table, BENCH[name].column, found, version, present)
    for dataset, alone in scores.items():
        if not any(dataset in task.datasets for task in BENCH.values()):
            _add_row(table, dataset, [alone], version, "")
    return table


def _add_row(table: Table, name: str, datasets: Sequence[Scores], version: str, present: str) -> None:
    """present: how many data sets of the task are there, as text."""
    metric = shown_metric(datasets[0], version)
    if any(metric not in scores for scores in datasets):  # data sets of one task that are scored differently
        table.add_row(name, "mixed", "", "", "", present)
        return
    label = metric
    if metric == "published":  # called by the clean metric of the same question type
        label = next(other for other in datasets[0] if other != "published")
    found = mean_interval(datasets, metric)
    if found is None:
        table.add_row(name, label, "", "", "", present)
        return
    score, low, high = (f"{100 * value:.1f}" for value in (found.mean, found.low, found.high))
    table.add_row(name, label, score, f"{low} to {high}", str(found.n), present)
