"""LLaVA-Interleave Bench: the 13 tasks together and alone, the dropped one, and the five 3D sets."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from interleave import (
    BENCH,
    TASK_OF,
    BadSample,
    InputError,
    Sample,
    Scored,
    Task,
    read_json,
    released_rows,
    sample_from_llava,
    tasks,
)
from interleave.scoring import metrics

PICTURE = "<image>"
TYPES = ("open-ended", "multi-choice")


class InterleaveBench(Task):
    """Part of LLaVA-Interleave Bench: ROUGE-L of open answers, accuracy of choices.

    ``score`` is the released scorer's, ``clean`` is Google's ROUGE-L or whether the right option was chosen. Each data
    set counts alike in its task, and each task alike in the whole.

    root: the folder with the JSON files and the folders Split1 and Split2. prompt: ``published`` puts a line break
    after each picture, as the released evaluation asks, ``plain`` asks what the data says. extra_prompt: text before
    each question; empty as published. turns: of a dialogue, ``all`` are asked, or only the ``first``. history: what
    stands before a later turn, the model's ``own`` replies, as in the released evaluation, or the ``true`` ones.
    single, several: which modality takes the picture of a record with one, and each picture of a record with several;
    as published no picture is cut into tiles.
    """

    generation: Mapping[str, Any] = {"max_new_tokens": 1024}
    parts: Sequence[str] = ()
    """Names of BENCH."""

    def __init__(
        self,
        root: str,
        prompt: Literal["published", "plain"] = "published",
        extra_prompt: str = "",
        turns: Literal["all", "first"] = "all",
        history: Literal["own", "true"] = "own",
        single: str = "image",
        several: str = "image",
    ) -> None:
        self.root, self.prompt, self.extra_prompt, self.messages = Path(root), prompt, extra_prompt, turns
        self.history = history
        self.kinds = {"single": single, "several": several}
        changed = [prompt] * (prompt != "published") + [extra_prompt] * bool(extra_prompt)
        self.version = " ".join(["2", *changed, *["true history"] * (history == "true")])
        self.items, self.types, rows = _items(self.root, self.parts, turns)
        known = released_rows(self.parts)
        self.expected = None if known is None else known + len(self.items) - rows  # further turns are no rows

    def records(self) -> Sequence[Mapping[str, Any]]:
        return self.items

    def sample(self, record: Mapping[str, Any]) -> Sample:
        if not metrics.published_normalise(self.answer(record)):
            raise BadSample("empty truth", "the truth is empty, and the released scorer leaves such items out")
        place = 2 * record["turn"] + 1
        asked, later = record["conversations"][:place], record["conversations"][place:]
        images = record.get("image")
        if isinstance(images, list) and any(PICTURE in str(turn.get("value")) for turn in later):
            images = images[: sum(str(turn.get("value")).count(PICTURE) for turn in asked)]
        shown = {**record, "image": images, "conversations": [self._asked(turn) for turn in asked]}
        return sample_from_llava(shown, self.root, self.kinds, reply=True)

    def after(self, record: Mapping[str, Any]) -> int | None:
        return record["before"] if self.history == "own" else None

    def continued(self, record: Mapping[str, Any], replies: Sequence[str]) -> Mapping[str, Any]:
        turns = list(record["conversations"])
        for k, reply in enumerate(replies):  # what a model writes is no place for a picture
            turns[2 * k + 1] = {**turns[2 * k + 1], "value": reply.replace(PICTURE, "image")}
        return {**record, "conversations": turns}

    def _asked(self, turn: Mapping[str, Any]) -> Mapping[str, Any]:
        if turn.get("from") != "human" or not isinstance(turn.get("value"), str):
            return turn
        text = self.extra_prompt + turn["value"]
        return {**turn, "value": text.replace(PICTURE, f"{PICTURE}\n") if self.prompt == "published" else text}

    def answer(self, record: Mapping[str, Any]) -> str:
        truth = _truth(record)
        if truth is None:
            raise BadSample("no answer", f"{record['id']} has no true answer")
        return truth

    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        truth = self.answer(record)
        if self.types[_dataset(record)] == "open-ended":
            rouge = metrics.published_rouge_l(reply, truth)
            return {"score": rouge or 0.0, "clean": metrics.rouge_l(reply, truth)}
        return {"score": metrics.published_choice(reply, truth), "clean": metrics.clean_choice(reply, truth)}

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        return {metric: _mean(scored, metric, levels=2) for metric in scored[0].scores}

    def group(self, record: Mapping[str, Any]) -> str:
        return f"{TASK_OF[_dataset(record)]}/{_dataset(record)}"

    def chance(self, record: Mapping[str, Any]) -> float | None:
        options = _options(record) if self.types[_dataset(record)] == "multi-choice" else 0
        return 1 / options if options > 1 else None

    def released(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "dataset": _dataset(record),
            "sample_id": record["sample_id"],
            "gt_response": _truth(record) or "",
            "shortuuid": uuid5(NAMESPACE_URL, str(record["id"])).hex[:22],
            "question_type": record["metadata"]["question_type"],
        }


def _files(parts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(BENCH[part].path for part in BENCH if part in parts))


def _dataset(record: Mapping[str, Any]) -> str:
    return str(record["metadata"]["dataset"])


def _truth(record: Mapping[str, Any]) -> str | None:
    turns, place = record["conversations"], 2 * record["turn"] + 1
    value = turns[place].get("value") if len(turns) > place else None
    return value if isinstance(value, str) else None


def _items(root: Path, parts: Sequence[str], turns: str) -> tuple[list[dict[str, Any]], dict[str, str], int]:
    """One item a question, in the files' order; the question type of each data set; how many records were read."""
    items: list[dict[str, Any]] = []
    types: dict[str, str] = {}
    seen: defaultdict[str, int] = defaultdict(int)
    rows = 0
    wanted = {dataset for part in parts for dataset in BENCH[part].datasets}
    for path in (root / file for file in _files(parts)):
        unknown: Counter[str] = Counter()
        for number, record in enumerate(read_json(path)):
            dataset = str((record.get("metadata") or {}).get("dataset"))
            unknown[dataset] += dataset not in TASK_OF
            if dataset not in wanted:
                continue
            rows += 1
            types.setdefault(dataset, _question_type(record, f"{path}, record {number}"))
            name = f"{dataset}/{record['sample_id']}"
            seen[name] += 1  # nothing says that released numbers occur once
            name += f"#{seen[name]}" if seen[name] > 1 else ""
            questions = max(1, len(record["conversations"]) // 2) if turns == "all" else 1
            start = len(items)
            items += [
                {**record, "id": f"{name}/{k}" if k else name, "turn": k, "before": start + k - 1 if k else None}
                for k in range(questions)
            ]
        for dataset, count in (+unknown).items():
            logging.warning(
                "%s: %d records of %r are left out; the benchmark has no such data set", path, count, dataset
            )
    if not items:
        raise InputError(f"{root} has no items of {', '.join(sorted(wanted))} in {', '.join(_files(parts))}")
    return items, types, rows


def _question_type(record: Mapping[str, Any], name: str) -> str:
    """Raises InputError where the record has not the released form."""
    if "sample_id" not in record or not record.get("conversations"):
        raise InputError(f"{name} lacks sample_id or conversations")
    kind = str(record["metadata"].get("question_type"))
    if kind not in TYPES:
        raise InputError(f"{name}: question_type {kind!r} is none of {', '.join(TYPES)}")
    return kind


def _options(record: Mapping[str, Any]) -> int:
    """How many there are, from choice_list or from lettered lines of the question; 0 where it cannot be told."""
    choices = record.get("choice_list")
    if isinstance(choices, list):
        return len(choices)
    question = str(record["conversations"][2 * record["turn"]].get("value"))
    letters = re.findall(r"(?m)^\s*\(?([A-H])[.):]", question)
    return len(letters) if letters == list("ABCDEFGH"[: len(letters)]) else 0


def _mean(scored: Sequence[Scored], metric: str, levels: int) -> float:
    """Of tasks, each the mean of its data sets, each the mean of its items."""
    if levels == 0:
        return fmean(item.scores[metric] for item in scored)
    parts: defaultdict[str, list[Scored]] = defaultdict(list)
    for item in scored:
        dataset = _dataset(item.record)
        parts[TASK_OF[dataset] if levels == 2 else dataset].append(item)
    return fmean(_mean(part, metric, levels - 1) for part in parts.values())


def _register(name: str, parts: Sequence[str]) -> None:
    """A name is a class of its own: what is built must know which part was chosen."""
    made = {"parts": tuple(parts), "__doc__": InterleaveBench.__doc__, "__module__": __name__}
    tasks.register(name)(type(name, (InterleaveBench,), made))


_register("interleave_bench", [name for name, part in BENCH.items() if part.domain in ("in", "out")])
_register("interleave_bench_3d", [name for name, part in BENCH.items() if part.domain == "3d"])
for _name in BENCH:
    _register(_name, [_name])
