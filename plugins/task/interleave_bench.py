"""LLaVA-Interleave Bench: the 13 tasks together and alone, the dropped one, and the five 3D sets."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

from interleave import (
    BENCH,
    TASK_OF,
    BadSample,
    Sample,
    Scored,
    Task,
    metrics,
    released_rows,
    sample_from_llava,
    tasks,
)

from ..dataset.base.record_fields import PLACEHOLDER, Record, Turn, metadata_of
from .base.interleave_bench_items import (
    answer_place,
    conversation_of,
    count_options,
    count_pictures,
    dataset_of,
    read_items,
    true_answer,
)


class InterleaveBench(Task):
    """Part of LLaVA-Interleave Bench: ROUGE-L of open answers, accuracy of choices.

    ``score`` is the released scorer's, ``clean`` is Google's ROUGE-L or whether the right option was chosen. Each data
    set counts alike in its task, and each task alike in the whole.

    root: the folder with the JSON files and the folders Split1 and Split2.
    prompt: ``published`` puts a line break after each picture, as the released evaluation asks; ``plain`` asks what the
        data says.
    extra_prompt: text before each question; empty as published.
    turns: of a dialogue, ``all`` are asked, or only the ``first``.
    history: what stands before a later turn: the model's ``own`` replies, as in the released evaluation, or the
        ``true`` ones.
    single: the modality that takes the picture of a record with one; as published no picture is cut into tiles.
    several: the modality that takes each picture of a record with several.
    """

    generation: Mapping[str, object] = {"max_new_tokens": 1024}
    parts: Sequence[str] = ()
    """Names of tasks in ``interleave.BENCH``."""

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
        self.root = Path(root)
        self.prompt = prompt
        self.extra_prompt = extra_prompt
        self.history = history
        self.modalities = {"single": single, "several": several}
        self.version = _version(prompt, extra_prompt, history)
        items = read_items(self.root, self.parts, turns)
        self.items = items.items
        self.types = items.types
        known = released_rows(self.parts)
        further_turns = len(items.items) - items.num_records  # items that are no rows of the released files
        self.expected = None if known is None else known + further_turns

    def records(self) -> Sequence[Record]:
        return self.items

    def sample(self, record: Record) -> Sample:
        if not metrics.published_normalise(self.answer(record)):
            raise BadSample("empty truth", "the truth is empty, and the released scorer leaves such items out")
        turns = conversation_of(record)
        place = answer_place(record)
        asked = turns[:place]
        images = record.get("image")
        if isinstance(images, list) and count_pictures(turns[place:]):
            images = images[: count_pictures(asked)]  # those of later turns are not shown yet
        conversation = [self._with_prompt(turn) for turn in asked]
        shown = {**record, "image": images, "conversations": conversation}
        return sample_from_llava(shown, self.root, self.modalities, reply=True)

    def after(self, record: Record) -> int | None:
        before = record["before"]
        return before if self.history == "own" and isinstance(before, int) else None

    def continued(self, record: Record, replies: Sequence[str]) -> Record:
        turns = list(conversation_of(record))
        for k, reply in enumerate(replies):
            text = reply.replace(PLACEHOLDER, "image")  # a picture has no place in what a model writes
            turns[2 * k + 1] = {**turns[2 * k + 1], "value": text}
        return {**record, "conversations": turns}

    def _with_prompt(self, turn: Turn) -> Turn:
        """A turn of the user as it is asked; any other turn as it is."""
        value = turn.get("value")
        if turn.get("from") != "human" or not isinstance(value, str):
            return turn
        text = self.extra_prompt + value
        if self.prompt == "published":
            text = text.replace(PLACEHOLDER, f"{PLACEHOLDER}\n")
        return {**turn, "value": text}

    def answer(self, record: Record) -> str:
        truth = true_answer(record)
        if truth is None:
            raise BadSample("no answer", f"{record['id']} has no true answer")
        return truth

    def score(self, record: Record, reply: str) -> dict[str, float]:
        truth = self.answer(record)
        if self.types[dataset_of(record)] == "open-ended":
            rouge = metrics.published_rouge_l(reply, truth)
            return {"score": rouge or 0.0, "clean": metrics.rouge_l(reply, truth)}
        return {"score": metrics.published_choice(reply, truth), "clean": metrics.clean_choice(reply, truth)}

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        return {metric: _mean(scored, metric, levels=2) for metric in scored[0].scores}

    def group(self, record: Record) -> str:
        dataset = dataset_of(record)
        return f"{TASK_OF[dataset]}/{dataset}"

    def chance(self, record: Record) -> float | None:
        count = count_options(record) if self.types[dataset_of(record)] == "multi-choice" else 0
        return 1 / count if count > 1 else None

    def released(self, record: Record) -> Mapping[str, object]:
        return {
            "dataset": dataset_of(record),
            "sample_id": record["sample_id"],
            "gt_response": true_answer(record) or "",
            "shortuuid": uuid5(NAMESPACE_URL, str(record["id"])).hex[:22],
            "question_type": metadata_of(record)["question_type"],
        }


def _version(prompt: str, extra_prompt: str, history: str) -> str:
    """Names what numbers depend on: those of two versions are not to be compared."""
    changes = ["2"]
    if prompt != "published":
        changes.append(prompt)
    if extra_prompt:
        changes.append(extra_prompt)
    if history == "true":
        changes.append("true history")
    return " ".join(changes)


def _mean(scored: Sequence[Scored], metric: str, levels: int) -> float:
    """The mean over tasks of the mean over their data sets of the mean over their items.

    levels: 2 groups by task, 1 by data set, 0 not at all.
    """
    if levels == 0:
        return fmean(item.scores[metric] for item in scored)
    parts: defaultdict[str, list[Scored]] = defaultdict(list)
    for item in scored:
        dataset = dataset_of(item.record)
        parts[TASK_OF[dataset] if levels == 2 else dataset].append(item)
    return fmean(_mean(part, metric, levels - 1) for part in parts.values())


def _register(name: str, parts: Sequence[str]) -> None:
    """Register a class of its own for a name: what is built from a class must know which tasks were chosen."""
    members = {"parts": tuple(parts), "__doc__": InterleaveBench.__doc__, "__module__": __name__}
    tasks.register(name)(type(name, (InterleaveBench,), members))


_register("interleave_bench", [name for name, part in BENCH.items() if part.domain in ("in", "out")])
_register("interleave_bench_3d", [name for name, part in BENCH.items() if part.domain == "3d"])
for _name in BENCH:
    _register(_name, [_name])
