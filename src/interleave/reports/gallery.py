"""Items as they were asked, with small pictures, and what every run said to them."""

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ..core.errors import BadSample, InputError
from ..core.sample import Media
from ..evaluation.reply import ItemRecord, Reply
from ..interfaces.task import Task
from ..media.images import list_frames, load_image
from ..media.videos import load_frames
from .plots import data_address
from .read_runs import ItemKey, Run

MAX_SIDE = 256
"""Of a picture, in pixels."""
MAX_FRAMES = 8
"""Pictures of one video or scene."""
SHARP_SIDE = 96
"""Pictures up to this side are kept exactly, as PNG; larger ones become JPEG."""


@dataclass
class Gallery:
    """Pictures by their content: each stands in a page once."""

    pictures: dict[str, str] = field(default_factory=dict)
    """Name -> data address."""

    def add(self, image: Image.Image) -> str:
        """Keep a picture, made small. Returns the name by which the page finds it."""
        small = image.convert("RGB")
        small.thumbnail((MAX_SIDE, MAX_SIDE))  # in place, keeping the shape; never enlarges
        name = hashlib.sha256(small.tobytes()).hexdigest()[:12]
        if name in self.pictures:
            return name
        buffer = io.BytesIO()
        if max(small.size) <= SHARP_SIDE:
            small.save(buffer, "PNG")
            self.pictures[name] = data_address(buffer.getvalue(), "png")
        else:
            small.save(buffer, "JPEG", quality=80)
            self.pictures[name] = data_address(buffer.getvalue(), "jpeg")
        return name


@dataclass(frozen=True)
class AskedPart:
    """A piece of a question: text, or pictures of one piece of media.

    pictures: names in the gallery; several for a video or a scene. kind: of the media.
    """

    text: str = ""
    pictures: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class ShownReply:
    """What a run said to an item. error: why it was not asked. score: the main metric. cut: at max_new_tokens."""

    text: str
    error: str
    score: float | None
    cut: bool = False


@dataclass(frozen=True)
class Card:
    """An item as the page shows it.

    task, condition, group: where it counts.
    id: of the record.
    place: number among the cards of its group, from 0.
    shown: cards of its group.
    of: items of its group.
    asked: the question in order.
    answer: the truth.
    replies: name of a run -> what it said.
    differs: whether runs have different scores.
    wrong: whether a run has less than a full score.
    error: whether a run could not ask it.
    """

    task: str
    condition: str
    group: str
    id: str
    place: int
    shown: int
    of: int
    asked: Sequence[AskedPart]
    answer: str
    replies: Mapping[str, ShownReply]
    differs: bool
    wrong: bool
    error: bool


class GroupKey(NamedTuple):
    """Items that stand together in a page."""

    task: str
    condition: str
    group: str


class ChosenItems(NamedTuple):
    """Items of a group that a page shows, and how many the group has."""

    keys: list[ItemKey]
    num_items: int


def choose_items(runs: Sequence[Run], limit: int) -> dict[GroupKey, ChosenItems]:
    """At most ``limit`` items of each group.

    First those on which runs differ, then those that one could not ask or got wrong, then the others; each in the
    order of the records.
    """
    every: dict[ItemKey, Reply] = {}  # an item of several runs once
    for run in runs:
        every |= run.replies
    groups: dict[GroupKey, list[ItemKey]] = defaultdict(list)
    for key, reply in every.items():
        groups[GroupKey(reply.task, reply.condition, reply.group)].append(key)
    chosen = {}
    for group, keys in sorted(groups.items()):
        ordered = sorted(keys, key=lambda key: (_dullness(key, runs), key))
        chosen[group] = ChosenItems(ordered[:limit], len(keys))
    return chosen


def _dullness(key: ItemKey, runs: Sequence[Run]) -> int:
    """0 where runs differ, 1 where one could not ask the item or got it wrong, else 2."""
    replies = [run.replies.get(key) for run in runs]
    if _differ(replies):
        return 0
    return 1 if _any_error(replies) or _any_wrong(replies) else 2


def main_score(reply: Reply | None) -> float | None:
    """The metric that tables show; None where there is none."""
    if reply is None or not reply.scores:
        return None
    return next(iter(reply.scores.values()))


def _differ(replies: Sequence[Reply | None]) -> bool:
    return len({main_score(reply) for reply in replies}) > 1


def _any_wrong(replies: Sequence[Reply | None]) -> bool:
    """Whether one has less than a full score, or none."""
    return any((main_score(reply) or 0) < 1 for reply in replies)


def _any_error(replies: Sequence[Reply | None]) -> bool:
    return any(reply is None or reply.error is not None for reply in replies)


def cards(runs: Sequence[Run], tasks: Mapping[str, Task], gallery: Gallery, limit: int) -> Iterator[Card]:
    """What a page shows of each item. tasks: open the items' pictures; others are shown as text."""
    records = {name: task.records() for name, task in tasks.items()}
    for (task, condition, group), (keys, num_items) in choose_items(runs, limit).items():
        for place, key in enumerate(keys):
            by_run = {run.name: run.replies.get(key) for run in runs}
            replies = list(by_run.values())
            known = next(reply for reply in replies if reply)
            asked = [AskedPart(known.prompt)]
            # the files may have changed since: only an item of the same condition is shown with its pictures
            if task in tasks and condition == tasks[task].condition(records[task][known.index]):
                asked = asked_parts(tasks[task], records[task][known.index], gallery) or asked
            yield Card(
                task=task,
                condition=condition,
                group=group,
                id=known.id,
                place=place,
                shown=len(keys),
                of=num_items,
                asked=asked,
                answer=known.answer,
                replies={name: _shown(reply) for name, reply in by_run.items()},
                differs=_differ(replies),
                wrong=_any_wrong(replies),
                error=_any_error(replies),
            )


def _shown(reply: Reply | None) -> ShownReply:
    if reply is None:
        return ShownReply("", "not asked", None)
    error = reply.error["message"] if reply.error else ""
    return ShownReply(reply.reply or "", error, main_score(reply), reply.truncated)


def asked_parts(task: Task, record: ItemRecord, gallery: Gallery) -> list[AskedPart]:
    """What was asked, in order; what cannot be opened is said in words where it would stand."""
    try:
        messages = task.sample(record).messages
    except BadSample as bad:
        return [AskedPart(f"[{bad.message}]")]
    parts = []
    for message in messages:
        for piece in message.content:
            parts.append(_media_part(piece, gallery) if isinstance(piece, Media) else AskedPart(piece))
    return parts


def _media_part(media: Media, gallery: Gallery) -> AskedPart:
    try:
        names = tuple(gallery.add(picture) for picture in pictures_of(media))
    except (BadSample, InputError) as error:
        return AskedPart(f"[{media.kind}: {error}]")
    return AskedPart(pictures=names, kind=media.kind)


def pictures_of(media: Media) -> list[Image.Image]:
    """What a person looks at: the picture itself, or up to eight frames or views. Raises BadSample or InputError."""
    data = media.data
    if media.kind == "video":  # a file, or a folder or list of frames
        return load_frames(data, MAX_FRAMES)[0]
    if isinstance(data, (list, tuple)) or (isinstance(data, (str, Path)) and Path(data).is_dir()):
        return [load_image(picture) for picture in list_frames(data)[:MAX_FRAMES]]
    return [load_image(data)]
