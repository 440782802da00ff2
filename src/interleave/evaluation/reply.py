"""The line of ``replies.jsonl``: one item of a task, as it was asked, answered and scored."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..core.errors import BadSample
from ..core.sample import Media, Sample
from ..interfaces.task import Task


@dataclass(frozen=True)
class Reply:
    """index: its place in the task's records. prompt: the text of the question, with ``<image>`` or what else was shown
    in its place. reply: None where the item could not be asked; ``error`` says why then. scores: None without a reply,
    and until a judge has graded it. visuals: pictures (or videos, or scenes) that the item has, and that the model got.
    views: squares of pixels that the model got. prompt_tokens: with what stands for visuals. truncated: the reply had
    not ended when it reached ``max_new_tokens``. shortened: what was left out of the item. prompt_hash: of ``prompt``.
    error: ``reason`` and ``message``.
    """

    task: str
    index: int
    id: str
    condition: str
    group: str
    prompt: str
    reply: str | None
    answer: str
    scores: dict[str, float] | None
    chance: float | None
    visuals: tuple[int, int]
    views: int
    prompt_tokens: int
    reply_tokens: int
    truncated: bool
    shortened: tuple[str, ...]
    prompt_hash: str
    error: dict[str, str] | None

    def line(self, **more: Any) -> str:
        return json.dumps({**asdict(self), **more}, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Reply":
        """Raises KeyError where a field is missing."""
        values = {field.name: content[field.name] for field in fields(cls)}
        return cls(**{**values, "visuals": tuple(values["visuals"]), "shortened": tuple(values["shortened"])})


def about(name: str, task: Task, record: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The fields of a reply that the record alone decides."""
    try:
        answer = task.answer(record)
    except BadSample:  # the item cannot be asked then either, and says why
        answer = ""
    called = str(record.get("id", index))
    return {
        "task": name,
        "index": index,
        "id": called,
        "condition": task.condition(record),
        "group": task.group(record),
        "answer": answer,
        "chance": None if answer == "" else task.chance(record),
    }


def prompt_of(sample: Sample) -> str:
    """A question as text, visuals as ``<kind>``; several turns with who says them."""
    turns = ["".join(f"<{p.kind}>" if isinstance(p, Media) else p for p in turn.content) for turn in sample.messages]
    if len(turns) == 1:
        return turns[0]
    return "\n".join(f"{turn.role}: {text}" for turn, text in zip(sample.messages, turns, strict=True))


def short_hash(*parts: str) -> str:
    """Sixteen hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]


def media_of(sample: Sample) -> list[Media]:
    return [part for turn in sample.messages for part in turn.content if isinstance(part, Media)]


def in_order(replies: Sequence[Reply], order: Sequence[str]) -> list[Reply]:
    """Tasks as ``order`` names them, each in the order of its records."""
    places = {name: i for i, name in enumerate(order)}
    return sorted(replies, key=lambda r: (places.get(r.task, len(places)), r.index))
