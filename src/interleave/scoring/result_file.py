"""Result files of finished runs as items to score, in the released form of LLaVA-Interleave Bench or in ours."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InputError
from ..core.files import JSONObject
from .interleave_bench import BENCH, TASK_OF

QUESTION_TYPES = ("open-ended", "multi-choice")
RELEASED_FIELDS = ("dataset", "sample_id", "pred_response", "gt_response", "question_type")
REPLY_FIELDS = ("group", "id", "reply", "answer", "scores")
TYPE_OF_METRIC = {"rouge_l": "open-ended", "accuracy": "multi-choice"}
"""Metric of a task of the benchmark -> the question_type of its items; our replies do not name the type."""


@dataclass(frozen=True)
class ScoredItem:
    """One answered question.

    dataset: the data set that it counts for.
    sample_id: its name in the data set; a name may occur more than once.
    reply: what the model said.
    answer: the truth.
    question_type: one of ``QUESTION_TYPES``; empty where only the run knows how it is scored.
    scores: metrics that the run itself gave, for data sets outside the benchmark; else empty.
    """

    dataset: str
    sample_id: str
    reply: str
    answer: str
    question_type: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ResultFile:
    """What a result file holds.

    path: the file, for messages.
    items: data set -> its items in the order of the file.
    unanswered: number of lines without a reply or a score.
    """

    path: Path
    items: Mapping[str, Sequence[ScoredItem]]
    unanswered: int

    def question_type(self, dataset: str) -> str:
        """The type of the data set's first item, which decides for all of them in the released scorer.

        Empty where only the run knows how the data set is scored.
        """
        return self.items[dataset][0].question_type


def read_result_file(path: Path) -> ResultFile:
    """Read ``result.jsonl`` of any project, or our own ``replies.jsonl``. Raises InputError naming the line."""
    items: defaultdict[str, list[ScoredItem]] = defaultdict(list)
    unanswered = 0
    for place, content in _lines(path):
        is_reply = "reply" in content and "pred_response" not in content
        item = _from_reply(content, place) if is_reply else _from_released(content, place)
        if item is None:
            unanswered += 1
            continue
        items[item.dataset].append(item)
    if not items:
        raise InputError(f"{path} holds no answered item")
    for dataset, found in items.items():
        kind = found[0].question_type
        # the released scorer takes a data set of this name as multi-choice, whatever its question_type says
        if kind not in ("", *QUESTION_TYPES) and dataset != "nlrv2":
            raise InputError(f"{path}: question_type {kind!r} of {dataset} is none of {', '.join(QUESTION_TYPES)}")
    return ResultFile(path, dict(items), unanswered)


def _lines(path: Path) -> Iterator[tuple[str, JSONObject]]:
    """Each line that is not empty: where it stands, for errors, and what it holds. Raises InputError."""
    if not path.is_file():
        raise InputError(f"result file {path} does not exist")
    with path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    place = f"{path}, line {number}"
                    yield place, _parse(line, place)
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 text: {error}") from None


def _parse(line: str, place: str) -> JSONObject:
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{place} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{place} holds a {type(content).__name__}; each line is one item, an object")
    return content


def _from_released(content: JSONObject, place: str) -> ScoredItem:
    _require(content, RELEASED_FIELDS, place)
    for field in ("dataset", "pred_response", "gt_response"):
        if not isinstance(content[field], str):
            raise InputError(f"{place}: {field} is {content[field]!r}; it must be text")
    return ScoredItem(
        dataset=content["dataset"],
        sample_id=str(content["sample_id"]),
        reply=content["pred_response"],
        answer=content["gt_response"],
        question_type=str(content["question_type"]),
        scores={},
    )


def _from_reply(content: JSONObject, place: str) -> ScoredItem | None:
    """A line of ``replies.jsonl``; None where it has no reply or no scores.

    Items of the benchmark are scored again. All others keep the run's scores, and an item asked under a changed
    condition counts as one of another data set.
    """
    _require(content, REPLY_FIELDS, place)
    group, reply, answer, scores = content["group"], content["reply"], content["answer"], content["scores"]
    sample_id = str(content["id"])
    if reply is None or scores is None:
        return None
    dataset = str(group).rpartition("/")[2]  # "puzzle/RAVEN" counts for RAVEN
    if dataset in TASK_OF:
        question_type = TYPE_OF_METRIC[BENCH[TASK_OF[dataset]].metric]
        return ScoredItem(dataset, sample_id.removeprefix(f"{dataset}/"), reply, answer, question_type, {})
    condition = content.get("condition", "as it is")
    name = str(content.get("task", ""))
    if group != "all":
        name += f"/{group}"
    if condition != "as it is":
        name += f" ({condition})"
    return ScoredItem(name, sample_id, reply, answer, "", scores)


def _require(content: JSONObject, fields: Sequence[str], place: str) -> None:
    """Raises InputError where a field is missing."""
    missing = [field for field in fields if field not in content]
    if missing:
        raise InputError(f"{place} lacks {', '.join(missing)}; a line has {', '.join(fields)}")
