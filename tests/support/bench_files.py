"""A small LLaVA-Interleave Bench in the released schema: all 13 tasks, the dropped one, the five 3D sets."""

import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from interleave.scoring.interleave_bench import BENCH, TASK_OF

MOST_PICTURES = 20
"""Of one question."""
TURNS = {"ScanNet_chat": 3, "nuscenes": 2}
"""Questions of each record in the data sets whose records are dialogues; others have one."""
YES_NO = frozenset(("NLVR2_Mantis", "MIT-States_StateCoherence"))
"""Data sets whose choices are Yes and No instead of A to D."""


class Written(NamedTuple):
    """What ``write`` wrote.

    folder: of the JSON files and pictures.
    questions: how many questions each data set has, every turn of a dialogue counted.
    pictures: how many pictures all questions show together; a dialogue's are counted for each turn.
    unreadable: ids of the items that show a picture that cannot be read, as ``data set/sample_id`` for the first turn
        and ``data set/sample_id/turn`` for later ones.
    """

    folder: Path
    questions: dict[str, int]
    pictures: int
    unreadable: frozenset[str]


def write(folder: Path, items_per_dataset: int = 2, broken: bool = False) -> Written:
    """Write the JSON files and pictures of all tasks.

    items_per_dataset: records of each data set.
    broken: the last picture of each data set's last record cannot be decoded or does not exist, in turn.
    """
    records: dict[str, list[dict[str, object]]] = defaultdict(list)  # by JSON file
    questions: dict[str, int] = {}
    pictures = 0
    unreadable: set[str] = set()
    for number, (dataset, task) in enumerate(TASK_OF.items()):
        split = f"Split{1 + number % 2}/{dataset}/images"
        (folder / split).mkdir(parents=True, exist_ok=True)
        turns = TURNS.get(dataset, 1)
        questions[dataset] = items_per_dataset * turns
        for item in range(items_per_dataset):
            shown = 1 + (number * 7 + item * 5) % MOST_PICTURES
            paths = [_write_picture(folder, split, (number * 31 + item * 17 + k) % 100) for k in range(shown)]
            if broken and item == items_per_dataset - 1:
                paths[-1] = _unreadable_picture(folder, split, absent=number % 2 == 0)
                unreadable.add(f"{dataset}/{item}")
                unreadable.update(f"{dataset}/{item}/{turn}" for turn in range(1, turns))
            records[BENCH[task].path].append(_record(dataset, item, paths, turns))
            pictures += shown * turns
    for name, rows in records.items():
        (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    return Written(folder, questions, pictures, frozenset(unreadable))


def _record(dataset: str, item: int, paths: list[str], turns: int) -> dict[str, object]:
    """One record. Answers go round with ``item``; its pictures stand in the first question."""
    choice = BENCH[TASK_OF[dataset]].metric == "accuracy"
    choices = ["Yes", "No"] if dataset in YES_NO else ["A", "B", "C", "D"]
    colour = ("red", "blue", "green")[item % 3]
    answer = choices[item % len(choices)] if choice else f"the {colour} car left; {item} people"
    pictures = "".join(f"\nImage {k + 1}: <image>" for k in range(len(paths)))
    if item % 2 == 0:
        pictures = pictures.replace("<image>", "<image>,", 1)  # some released records have a comma there
    conversations = []
    for turn in range(turns):
        shown = f"{pictures}\nAnswer: " if turn == 0 else ""
        reply = answer if turn == 0 or choice else f"{answer} and {turn} more"
        conversations.append({"from": "human", "value": f"Question {turn} of {dataset}?{shown}"})
        conversations.append({"from": "gpt", "value": reply})
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


def _write_picture(folder: Path, split: str, number: int) -> str:
    """Write a picture whose size and colour follow from ``number``, once. Returns its path below ``folder``."""
    path = f"{split}/{number}.{'jpg' if number % 2 else 'png'}"
    if not (folder / path).exists():
        size = (16 + number % 24, 12 + number % 17)
        Image.new("RGB", size, (number * 2, 255 - number * 2, number * 53 % 256)).save(folder / path)
    return path


def _unreadable_picture(folder: Path, split: str, absent: bool) -> str:
    """The path below ``folder`` of a file that does not exist, or that cannot be decoded."""
    path = f"{split}/{'absent' if absent else 'broken'}.jpg"
    if not absent:
        (folder / path).write_bytes(b"\xff\xd8 this is no picture")
    return path
