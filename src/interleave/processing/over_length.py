"""Examples that are larger than a row or a batch: the only place that decides what becomes of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from ..core.errors import BadSample, InputError
from ..core.sample import Note
from ..core.types import Example
from ..interfaces.model_parts import ModalityAdapter

OverLength = Literal["error", "drop", "fewer_frames", "truncate_text"]
"""``error`` stops the run, ``drop`` leaves the sample out. ``fewer_frames`` shows fewer views of videos and scenes.
``truncate_text`` cuts off the end, never inside a visual, and never so that nothing of an answer is left."""

Adapters = Mapping[str, ModalityAdapter]
Render = Callable[[Adapters], Example]


@dataclass(frozen=True)
class Room:
    """What one example may take: ``sequence_length`` tokens, ``max_views``; and what happens where it takes more."""

    sequence_length: Annotated[int, Field(ge=1)]
    max_views: Annotated[int, Field(ge=1)]
    over_length: OverLength = "drop"


def fits(example: Example, length: int, views: int) -> None:
    """Raises BadSample where an example is longer than a row or has more views than a batch."""
    if len(example.input_ids) > length:
        raise BadSample(
            "over-length",
            f"{example.name}: an example of {len(example.input_ids)} tokens does not fit into rows of {length}; "
            f"{len(example.visual_positions)} of them are visual. "
            "Raise data.sequence_length, or show fewer frames or tiles.",
        )
    if example.views > views:
        raise BadSample(
            "too many views",
            f"{example.name}: an example of {example.views} views does not fit into batches of {views}. "
            "Raise data.max_views, or show fewer frames or tiles.",
        )


def fitted(render: Render, adapters: Adapters, room: Room) -> Example:
    """The example that ``render`` makes with the adapters, made smaller where it must and may be.

    Raises BadSample where it is left out, InputError where it stops the run.
    """
    example = render(adapters)
    try:
        fits(example, room.sequence_length, room.max_views)
        return example
    except BadSample as bad:
        if room.over_length == "error":
            raise InputError(f"{bad.message} data.over_length=drop leaves such samples out.") from None
        shortened = SHORTEN[room.over_length](render, adapters, example, room)
        if shortened is None:
            raise
        return shortened


def _nothing(render: Render, adapters: Adapters, example: Example, room: Room) -> Example | None:
    return None


def _fewer_frames(render: Render, adapters: Adapters, example: Example, room: Room) -> Example | None:
    """Ever fewer views of whatever can be shown with less, until it fits or each has one."""
    first = most = _most(example, adapters)
    while most > 1 and not _fits(example, room):
        reducible = sum(_tokens(example, kind) for kind in adapters if adapters[kind].fewer(1))
        over = len(example.input_ids) - room.sequence_length
        share = min((reducible - over) / max(reducible, 1), room.max_views / max(example.views, 1))
        most = min(most - 1, max(1, int(most * share)))
        example = render({kind: a.fewer(most) or a for kind, a in adapters.items()})
    if not _fits(example, room):
        return None
    note = Note("over-length", f"{example.name}: shown with {most} views instead of {first}", "shortened")
    return replace(example, notes=(*example.notes, note))


def _truncate_text(render: Render, adapters: Adapters, example: Example, room: Room) -> Example | None:
    if example.documents:  # a preference is about whole replies
        return None
    cut, views = min(room.sequence_length, len(example.input_ids)), 0
    for visual, (start, end) in zip(example.visuals, example.spans, strict=True):
        views += len(visual.pixel_values)
        if start < cut < end or views > room.max_views:
            cut = min(cut, start)
    if not any(start < cut for start in example.answers):
        return None
    slots = example.visual_positions[example.visual_positions < cut]
    kept = sum(end <= cut for _, end in example.spans)
    note = Note("over-length", f"{example.name}: cut from {len(example.input_ids)} tokens to {cut}", "shortened")
    return replace(
        example,
        input_ids=example.input_ids[:cut],
        labels=example.labels[:cut],
        visual_positions=slots,
        visuals=example.visuals[:kept],
        spans=example.spans[:kept],
        answers=tuple(start for start in example.answers if start < cut),
        notes=(*example.notes, note),
    )


SHORTEN: Mapping[str, Callable[[Render, Adapters, Example, Room], Example | None]] = {
    "drop": _nothing,
    "fewer_frames": _fewer_frames,
    "truncate_text": _truncate_text,
}


def _most(example: Example, adapters: Adapters) -> int:
    """Views of the largest visual that can be shown with less; 0 where there is none."""
    return max((len(v.pixel_values) for v in example.visuals if adapters[v.kind].fewer(1)), default=0)


def _tokens(example: Example, kind: str) -> int:
    return sum(n for v in example.visuals if v.kind == kind for n in v.layout if isinstance(n, int))


def _fits(example: Example, room: Room) -> bool:
    return len(example.input_ids) <= room.sequence_length and example.views <= room.max_views
