"""LLaVA-Interleave Bench: its files -> items, and what an item's record says."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interleave import BENCH, TASK_OF, InputError, read_json

from ...dataset.base.record_fields import PLACEHOLDER, Record, Turn, metadata_of

QUESTION_TYPES = ("open-ended", "multi-choice")
"""Open answers are scored by ROUGE-L, choices by accuracy."""


def dataset_of(record: Record) -> str:
    """The data set that a record belongs to; ``interleave.TASK_OF`` names its task."""
    return str(metadata_of(record)["dataset"])


def conversation_of(record: Record) -> Sequence[Turn]:
    """All turns of the dialogue, questions and answers; empty where the record holds no list."""
    turns = record["conversations"]
    return turns if isinstance(turns, list) else []


def turn_number(record: Record) -> int:
    """Which question of the dialogue the item asks, from 0."""
    number = record["turn"]
    assert isinstance(number, int)
    return number


def answer_place(record: Record) -> int:
    """The place of the item's true answer in the conversation; questions and answers take turns."""
    return 2 * turn_number(record) + 1


def true_answer(record: Record) -> str | None:
    """The true answer; None where there is none."""
    turns = conversation_of(record)
    place = answer_place(record)
    value = turns[place].get("value") if len(turns) > place else None
    return value if isinstance(value, str) else None


def count_pictures(turns: Iterable[Turn]) -> int:
    """How many pictures the turns place."""
    return sum(str(turn.get("value")).count(PLACEHOLDER) for turn in turns)


@dataclass
class Items:
    """What the files hold of some tasks.

    items: one for each question: the record, its ``id``, ``turn`` (which question of the dialogue, from 0) and
        ``before`` (the number of the item that asks the question before it, or None).
    types: data set -> question type of its first record, which decides how it is scored.
    num_records: how many records the items are made of.
    times_seen: data set and number of a record -> how often it occurred.
    """

    items: list[Record] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    num_records: int = 0
    times_seen: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record, dataset: str, where: str, turns: str) -> None:
        """Add a record's items. where: names the record in errors. turns: as for ``InterleaveBench``."""
        self.num_records += 1
        question_type = _question_type(record, where)  # checked for every record, although the first one decides
        self.types.setdefault(dataset, question_type)
        name = f"{dataset}/{record['sample_id']}"
        self.times_seen[name] += 1
        if self.times_seen[name] > 1:  # nothing promises that a number occurs once in the released files
            name += f"#{self.times_seen[name]}"
        count = max(1, len(conversation_of(record)) // 2) if turns == "all" else 1
        first = len(self.items)
        for k in range(count):
            item_id = f"{name}/{k}" if k else name
            before = first + k - 1 if k else None
            self.items.append({**record, "id": item_id, "turn": k, "before": before})


def _files(parts: Iterable[str]) -> list[str]:
    """The files that hold some tasks, in the order of the table."""
    return list(dict.fromkeys(BENCH[part].path for part in BENCH if part in parts))


def read_items(root: Path, parts: Sequence[str], turns: str) -> Items:
    """The items of some tasks, in the files' order. Raises InputError where there are none."""
    found = Items()
    wanted = {dataset for part in parts for dataset in BENCH[part].datasets}
    for file in _files(parts):
        path = root / file
        unknown: Counter[str] = Counter()
        for number, record in enumerate(read_json(path)):
            dataset = str(metadata_of(record).get("dataset"))
            if dataset not in TASK_OF:
                unknown[dataset] += 1
            if dataset in wanted:
                found.add(record, dataset, f"{path}, record {number}", turns)
        for dataset, count in unknown.items():
            logging.warning(
                "%s: %d records of %r are left out; the benchmark has no such data set", path, count, dataset
            )
    if not found.items:
        raise InputError(f"{root} has no items of {', '.join(sorted(wanted))} in {', '.join(_files(parts))}")
    return found


def _question_type(record: Record, where: str) -> str:
    """Raises InputError where the record does not have the released form."""
    if "sample_id" not in record or not record.get("conversations"):
        raise InputError(f"{where} lacks sample_id or conversations")
    question_type = str(metadata_of(record).get("question_type"))
    if question_type not in QUESTION_TYPES:
        raise InputError(f"{where}: question_type {question_type!r} is none of {', '.join(QUESTION_TYPES)}")
    return question_type


def count_options(record: Record) -> int:
    """How many options there are, by choice_list or by lettered lines of the question; 0 where it cannot be told."""
    choices = record.get("choice_list")
    if isinstance(choices, list):
        return len(choices)
    question = str(conversation_of(record)[2 * turn_number(record)].get("value"))
    letters = re.findall(r"(?m)^\s*\(?([A-H])[.):]", question)  # lines such as "A. red", "(B) blue" or "C: green"
    return len(letters) if letters == list("ABCDEFGH"[: len(letters)]) else 0  # only if they count up from A
