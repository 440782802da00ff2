"""Result files of finished runs, in the released form of LLaVA-Interleave Bench or in ours, as items to score."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .interleave_bench import BENCH, TASK_OF

TYPES = ("open-ended", "multi-choice")
RELEASED = ("dataset", "sample_id", "pred_response", "gt_response", "question_type")
OURS = ("group", "id", "reply", "answer", "scores")
OF_METRIC = {"rouge_l": "open-ended", "accuracy": "multi-choice"}


@dataclass(frozen=True)
class Item:
    """One answered question. scores: what the run itself gave, for data sets outside the benchmark."""

    dataset: str
    sample_id: str
    reply: str
    answer: str
    question_type: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Results:
    """items: by data set, in the order of the file. unanswered: lines without a reply or a score."""

    path: Path
    items: Mapping[str, Sequence[Item]]
    unanswered: int

    def question_type(self, dataset: str) -> str:
        """That of its first item, as the released scorer has it; empty where only the run knows how it is scored."""
        return self.items[dataset][0].question_type


def read(path: Path) -> Results:
    """``result.jsonl`` of any project, or our ``replies.jsonl``. Raises InputError naming the line."""
    items: defaultdict[str, list[Item]] = defaultdict(list)
    unanswered = 0
    for name, content in _lines(path):
        ours = "reply" in content and "pred_response" not in content
        item = _ours(content, name) if ours else _released(content, name)
        if item is None:
            unanswered += 1
            continue
        items[item.dataset].append(item)
    if not items:
        raise InputError(f"{path} holds no answered item")
    for dataset, found in items.items():
        if (kind := found[0].question_type) not in ("", *TYPES) and dataset != "nlrv2":
            raise InputError(f"{path}: question_type {kind!r} of {dataset} is none of {', '.join(TYPES)}")
    return Results(path, dict(items), unanswered)


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The file and line, for errors, and what it holds."""
    if not path.is_file():
        raise InputError(f"result file {path} does not exist")
    with path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                name = f"{path}, line {number}"
                try:
                    content = json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(f"{name} is not JSON: {error}") from None
                if not isinstance(content, dict):
                    raise InputError(f"{name} holds a {type(content).__name__}; each line is one item, an object")
                yield name, content
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 text: {error}") from None


def _released(content: Mapping[str, Any], name: str) -> Item:
    dataset, number, reply, answer, kind = _fields(content, RELEASED, name)
    for field, value in (("dataset", dataset), ("pred_response", reply), ("gt_response", answer)):
        if not isinstance(value, str):
            raise InputError(f"{name}: {field} is {value!r}; it must be text")
    return Item(dataset, str(number), reply, answer, str(kind), {})


def _ours(content: Mapping[str, Any], name: str) -> Item | None:
    """Items under changed conditions are other items. None without a reply or scores."""
    group, number, reply, answer, scores = _fields(content, OURS, name)
    if reply is None or scores is None:
        return None
    dataset = str(group).rpartition("/")[2]
    if dataset not in TASK_OF:
        condition = content.get("condition", "as it is")
        name = str(content.get("task", "")) + (f"/{group}" if group != "all" else "")
        return Item(
            name + ("" if condition == "as it is" else f" ({condition})"), str(number), reply, answer, "", scores
        )
    number = str(number).removeprefix(f"{dataset}/")
    return Item(dataset, number, reply, answer, OF_METRIC[BENCH[TASK_OF[dataset]].metric], {})


def _fields(content: Mapping[str, Any], names: Sequence[str], name: str) -> list[Any]:
    missing = [field for field in names if field not in content]
    if missing:
        raise InputError(f"{name} lacks {', '.join(missing)}; a line has {', '.join(names)}")
    return [content[field] for field in names]
