"""Items as they were asked, with small pictures, and what every run said to them."""

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ..core.errors import BadSample, InputError
from ..core.sample import Media
from ..evaluation.reply import Reply
from ..interfaces.task import Task
from ..media.images import list_frames, load_image
from ..media.videos import load_frames
from .plots import address
from .read_runs import Key, Run

SIDE = 256
"""Of a picture at most, in pixels."""
FRAMES = 8
"""Pictures of one video or scene at most."""
SHARP = 96
"""Pictures up to this side stay as they are; larger ones may lose a little."""


@dataclass
class Gallery:
    """Pictures by their content: each stands in a page once."""

    pictures: dict[str, str] = field(default_factory=dict)

    def add(self, image: Image.Image) -> str:
        """Returns the name by which the page finds it."""
        small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        name = hashlib.sha256(small.tobytes()).hexdigest()[:12]
        if name not in self.pictures:
            buffer, sharp = io.BytesIO(), max(small.size) <= SHARP
            small.save(buffer, "PNG") if sharp else small.save(buffer, "JPEG", quality=80)
            self.pictures[name] = address(buffer.getvalue(), "png" if sharp else "jpeg")
        return name


def chosen(runs: Sequence[Run], limit: int) -> dict[tuple[str, str, str], tuple[list[Key], int]]:
    """(task, condition, group) -> at most ``limit`` of its items, and how many it has.

    First those on which runs differ, then those that one could not ask or got wrong, then the others, as they stand.
    """
    groups: dict[tuple[str, str, str], list[Key]] = defaultdict(list)
    for key, reply in {key: reply for run in runs for key, reply in run.replies.items()}.items():
        groups[reply.task, reply.condition, reply.group].append(key)
    return {
        group: (sorted(sorted(keys), key=lambda key: _dullness(key, runs))[:limit], len(keys))
        for group, keys in sorted(groups.items())
    }


def _dullness(key: Key, runs: Sequence[Run]) -> int:
    replies = [run.replies.get(key) for run in runs]
    scores = {first(reply) for reply in replies}
    if len(scores) > 1:
        return 0
    return 1 if any(reply is None or reply.error or (first(reply) or 0) < 1 for reply in replies) else 2


def first(reply: Reply | None) -> float | None:
    """The metric that tables show; None where there is none."""
    return next(iter(reply.scores.values()), None) if reply and reply.scores else None


def cards(runs: Sequence[Run], tasks: Mapping[str, Task], gallery: Gallery, limit: int) -> Iterator[dict[str, Any]]:
    """What a page shows of each item."""
    records = {name: task.records() for name, task in tasks.items()}
    for (task, condition, group), (keys, total) in chosen(runs, limit).items():
        for place, key in enumerate(keys):
            replies = {run.name: run.replies.get(key) for run in runs}
            known = next(reply for reply in replies.values() if reply)
            asked = [{"text": known.prompt}]
            if task in tasks and condition == tasks[task].condition(records[task][known.index]):
                asked = parts(tasks[task], records[task][known.index], gallery) or asked
            scores = {first(reply) for reply in replies.values()}
            yield {
                "task": task, "condition": condition, "group": group, "id": known.id, "of": total, "place": place,
                "asked": asked, "answer": known.answer, "shown": len(keys),
                "replies": {name: _said(reply) for name, reply in replies.items()},
                "differs": len(scores) > 1,
                "wrong": any((first(reply) or 0) < 1 for reply in replies.values()),
                "error": any(reply is None or reply.error is not None for reply in replies.values()),
            }  # fmt: skip


def _said(reply: Reply | None) -> dict[str, Any]:
    if reply is None:
        return {"text": "", "error": "not asked", "score": None}
    error = reply.error["message"] if reply.error else ""
    return {"text": reply.reply or "", "error": error, "score": first(reply), "cut": reply.truncated}


def parts(task: Task, record: Mapping[str, Any], gallery: Gallery) -> list[dict[str, Any]]:
    """What was asked, in order: ``{"text"}`` or ``{"pictures", "kind"}``; what cannot be opened is said in words."""
    try:
        contents = [part for turn in task.sample(record).messages for part in turn.content]
    except BadSample as bad:
        return [{"text": f"[{bad.message}]"}]
    return [_part(part, gallery) if isinstance(part, Media) else {"text": part} for part in contents]


def _part(media: Media, gallery: Gallery) -> dict[str, Any]:
    try:
        return {"pictures": [gallery.add(picture) for picture in pictures(media)], "kind": media.kind}
    except (BadSample, InputError) as error:
        return {"text": f"[{media.kind}: {error}]"}


def pictures(media: Media) -> list[Image.Image]:
    """What a person looks at: the picture itself, or up to eight frames or views."""
    data = media.data
    if media.kind == "video":
        return load_frames(data, FRAMES)[0]
    if isinstance(data, (list, tuple)) or (isinstance(data, (str, Path)) and Path(data).is_dir()):
        return [load_image(picture) for picture in list_frames(data)[:FRAMES]]
    return [load_image(data)]
