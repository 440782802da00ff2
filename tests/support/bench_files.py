"""A small LLaVA-Interleave Bench in the released schema: all 13 tasks, the dropped one, the five 3D sets."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from interleave.scoring.interleave_bench import BENCH, TASK_OF

MOST_PICTURES = 20
TURNS = {"ScanNet_chat": 3, "nuscenes": 2}
"""Questions of one record, where it is a dialogue."""
YES_NO = frozenset(("NLVR2_Mantis", "MIT-States_StateCoherence"))


class Written(NamedTuple):
    """questions: of each data set, all turns counted. pictures: that they show, all turns counted. unreadable: ids of
    the items that show a picture that cannot be read, as ``data set/sample_id`` and ``data set/sample_id/turn``."""

    folder: Path
    questions: dict[str, int]
    pictures: int
    unreadable: frozenset[str]


def write(folder: Path, items_per_dataset: int = 2, broken: bool = False) -> Written:
    """JSON files and pictures. broken: the last record of every data set shows a picture that is none, or absent."""
    records: dict[str, list[dict[str, Any]]] = defaultdict(list)
    questions, pictures, unreadable = {}, 0, set()
    for number, (dataset, task) in enumerate(TASK_OF.items()):
        split = f"Split{1 + number % 2}/{dataset}/images"
        (folder / split).mkdir(parents=True, exist_ok=True)
        turns = TURNS.get(dataset, 1)
        questions[dataset] = items_per_dataset * turns
        for item in range(items_per_dataset):
            shown = 1 + (number * 7 + item * 5) % MOST_PICTURES
            paths = [_picture(folder, split, (number * 31 + item * 17 + k) % 100) for k in range(shown)]
            if broken and item == items_per_dataset - 1:
                paths[-1] = _no_picture(folder, split, absent=number % 2 == 0)
                unreadable |= {f"{dataset}/{item}" + (f"/{turn}" if turn else "") for turn in range(turns)}
            records[BENCH[task].path].append(_record(dataset, item, paths, turns))
            pictures += shown * turns
    for name, rows in records.items():
        (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return Written(folder, questions, pictures, frozenset(unreadable))


def _record(dataset: str, item: int, paths: list[str], turns: int) -> dict[str, Any]:
    choice = BENCH[TASK_OF[dataset]].metric == "accuracy"
    choices = ["Yes", "No"] if dataset in YES_NO else ["A", "B", "C", "D"]
    answer = (
        choices[item % len(choices)] if choice else f"the {('red', 'blue', 'green')[item % 3]} car left; {item} people"
    )
    pictures = "".join(f"\nImage {k + 1}: <image>" for k in range(len(paths)))
    asked = f"{pictures}\nAnswer: " if item % 2 else f"{pictures.replace('<image>', '<image>,', 1)}\nAnswer: "
    conversations = [
        turn
        for k in range(turns)
        for turn in (
            {"from": "human", "value": f"Question {k} of {dataset}?{asked if k == 0 else ''}"},
            {"from": "gpt", "value": answer if k == 0 or choice else f"{answer} and {k} more"},
        )
    ]
    return {
        "sample_id": item,
        "conversations": conversations,
        "image": paths,
        "choice_list": choices if choice and item % 2 == 0 else None,
        "metadata": {
            "dataset": dataset,
            "split": "val",
            "num_sample": 100,
            "question_type": "multi-choice" if choice else "open-ended",
            "task_instruction": f"Question 0 of {dataset}?",
        },
    }


def _picture(folder: Path, split: str, number: int) -> str:
    path = f"{split}/{number}.{'jpg' if number % 2 else 'png'}"
    if not (folder / path).exists():
        size = (16 + number % 24, 12 + number % 17)
        Image.new("RGB", size, (number * 2, 255 - number * 2, number * 53 % 256)).save(folder / path)
    return path


def _no_picture(folder: Path, split: str, absent: bool) -> str:
    path = f"{split}/{'absent' if absent else 'broken'}.jpg"
    if not absent:
        (folder / path).write_bytes(b"\xff\xd8 this is no picture")
    return path
