"""One item of a task, as it was asked, answered and scored: a line of ``replies.jsonl``."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypedDict

from ..core.errors import BadSample, sample_border
from ..core.files import JSONObject
from ..core.sample import Media, Sample
from ..interfaces.task import Task

ItemRecord = Mapping[str, Any]
"""An item as the files of a task hold it. Its keys are the task's own; only ``id`` is read here, where there is one."""


class ReplyError(TypedDict):
    """Why an item could not be asked.

    reason: a few words by which such items are counted.
    message: one line that names the item and what is wrong with it.
    """

    reason: str
    message: str


@dataclass(frozen=True)
class AskedItem:
    """What is known of an item before the model replies.

    task: name of the task.
    index: position in the task's records.
    id: the record's own name, or its index.
    condition: how the item was changed before it was asked; a column of the results.
    group: row of the results; ``a/b`` counts for row ``a``, too.
    answer: the truth; empty where the record holds none that can be read.
    chance: expected score of a guess; None where unknown.
    prompt: the question as text, each visual as ``<kind>``.
    visuals: how many pictures, videos and scenes the item has, and how many of them the model gets.
    views: squares of pixels that the model gets.
    prompt_tokens: length of the prompt, with the tokens that stand for visuals.
    shortened: what was left out of the item or repaired in it, one line each.
    """

    task: str
    index: int
    id: str
    condition: str
    group: str
    answer: str
    chance: float | None
    prompt: str = ""
    visuals: tuple[int, int] = (0, 0)
    views: int = 0
    prompt_tokens: int = 0
    shortened: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """One line of ``replies.jsonl``: the fields of ``AskedItem``, and what came of it.

    reply: the model's text; None where the item could not be asked.
    scores: metrics of this reply; None without a reply, and until a judge has graded it.
    reply_tokens: tokens that were generated.
    truncated: whether the reply had not ended when it reached ``max_new_tokens``.
    prompt_hash: of ``prompt``, see ``short_hash``.
    error: why the item could not be asked; None where it was.
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
    error: ReplyError | None

    def to_json(self) -> dict[str, object]:
        """Field -> value, in the order of the fields."""
        return asdict(self)

    def line(self, seconds: float | None = None) -> str:
        """The line with its end. seconds: how long the reply took, written only where it is given."""
        content = self.to_json()
        if seconds is not None:
            content["seconds"] = seconds
        return json.dumps(content, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, content: JSONObject) -> "Reply":
        """The reply that ``to_json`` wrote; other keys are ignored. Raises KeyError where a field is missing."""
        values = {field.name: content[field.name] for field in fields(cls)}
        values["visuals"] = tuple(values["visuals"])  # JSON knows lists only
        values["shortened"] = tuple(values["shortened"])
        return cls(**values)


def describe_item(task_name: str, task: Task, record: ItemRecord, index: int) -> AskedItem:
    """What the record alone says of an item; prompt and visuals are not known yet."""
    item = AskedItem(task_name, index, str(record.get("id", index)), condition="", group="all", answer="", chance=None)
    # An item of which one of these cannot be told cannot be asked either, and says why then.
    with suppress(BadSample), sample_border():
        item = replace(item, condition=task.condition(record), group=task.group(record))
        answer = task.answer(record)
        item = replace(item, answer=answer, chance=None if answer == "" else task.chance(record))
    return item


def reply_to(
    item: AskedItem, text: str, scores: dict[str, float] | None, reply_tokens: int = 0, truncated: bool = False
) -> Reply:
    """The line of an item that was asked. scores: None until a judge has graded the reply."""
    return _line(item, text, scores, reply_tokens, truncated, None)


def refused(item: AskedItem, bad: BadSample) -> Reply:
    """The line of an item that could not be asked: nothing reached the model."""
    return _line(item, None, None, 0, False, {"reason": bad.reason, "message": bad.message})


def _line(
    item: AskedItem,
    text: str | None,
    scores: dict[str, float] | None,
    reply_tokens: int,
    truncated: bool,
    error: ReplyError | None,
) -> Reply:
    return Reply(
        task=item.task,
        index=item.index,
        id=item.id,
        condition=item.condition,
        group=item.group,
        prompt=item.prompt,
        reply=text,
        answer=item.answer,
        scores=scores,
        chance=item.chance,
        visuals=(item.visuals[0], 0) if error else item.visuals,  # of a refused item nothing was fed
        views=0 if error else item.views,
        prompt_tokens=item.prompt_tokens,
        reply_tokens=reply_tokens,
        truncated=truncated,
        shortened=() if error else item.shortened,
        prompt_hash=short_hash(item.prompt),
        error=error,
    )


def prompt_text(sample: Sample) -> str:
    """A question as text: each visual as ``<kind>``; several messages on lines that begin with their role."""
    texts = []
    for message in sample.messages:
        pieces = [f"<{piece.kind}>" if isinstance(piece, Media) else piece for piece in message.content]
        texts.append("".join(pieces))
    if len(texts) == 1:
        return texts[0]
    return "\n".join(f"{message.role}: {text}" for message, text in zip(sample.messages, texts, strict=True))


def short_hash(*parts: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the parts, with a zero byte between them."""
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]


def media_of(sample: Sample) -> list[Media]:
    """All media of a conversation in reading order."""
    return [piece for message in sample.messages for piece in message.content if isinstance(piece, Media)]


def in_order(replies: Sequence[Reply], task_names: Sequence[str]) -> list[Reply]:
    """Replies by task in the order of ``task_names``, others last; within a task in the order of its records."""
    # name -> where its replies stand
    places = {name: place for place, name in enumerate(task_names)}
    return sorted(replies, key=lambda reply: (places.get(reply.task, len(places)), reply.index))
