"""In which order items are asked, and which go together: decided before any media is opened, the same on every rank."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core.errors import BadSample
from ..interfaces.task import Task
from ..processing.placement import Placement, placed
from .media_prefetch import media_key
from .reply import media_of, prompt_of, short_hash

MOST = 4
"""Batches that are planned together at most: their items are prepared, then sorted by their true size."""
WINDOWS = 16
"""Windows that a task has at least, if it has as many batches, so that several ranks get alike shares."""


@dataclass(frozen=True)
class Outline:
    """An item as far as it is known without opening its media. cost: (pieces of media, characters). before: the items
    whose replies it goes on from, the first one first.

    mark: changes with what is asked.
    """

    index: int
    cost: tuple[int, int]
    media: tuple[str, ...]
    mark: str
    before: tuple[int, ...] = ()


def outlines(task: Task, placement: Placement = "interleaved") -> list[Outline]:
    """Of every record; one that cannot be asked costs nothing. placement: of the visuals, when asked."""
    records = task.records()
    after = [task.after(record) for record in records]
    return [replace(_outline(task, i, record, placement), before=_before(i, after)) for i, record in enumerate(records)]


def _before(index: int, after: Sequence[int | None]) -> tuple[int, ...]:
    found: list[int] = []
    place = after[index]
    while place is not None:
        found.append(place)
        place = after[place]
    return tuple(reversed(found))


def _outline(task: Task, index: int, record: Mapping[str, Any], placement: Placement) -> Outline:
    called = f"{record.get('id', index)} {task.condition(record)}"
    try:
        sample = placed(task.sample(record), placement)
    except BadSample as bad:
        return Outline(index, (0, 0), (), short_hash(called, bad.reason))
    keys = tuple(media_key(piece) for piece in media_of(sample))
    prompt = prompt_of(sample)
    return Outline(index, (len(keys), len(prompt)), keys, short_hash(called, prompt, *keys))


def windows(items: Sequence[Outline], batch: int) -> list[list[int]]:
    """Items by cost, the largest first, and those that share media side by side -> runs of indices, each a whole
    number of batches: the unit that goes to a rank.

    The largest come first so that memory that is too small shows at once, and no rank ends with the longest work.
    """
    together = _clusters(items)
    costs = {item.index: (*together[item.index], *item.cost) for item in items}
    ordered = sorted(items, key=lambda item: (*(-cost for cost in costs[item.index]), item.index))
    size = batch * min(MOST, max(1, len(items) // (batch * WINDOWS)))
    return [[item.index for item in ordered[start : start + size]] for start in range(0, len(ordered), size)]


def _clusters(items: Sequence[Outline]) -> dict[int, tuple[int, int, int]]:
    """For each item the largest cost among all that are linked to it by shared media, and the first of them."""
    parent = {item.index: item.index for item in items}

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    first: dict[str, int] = {}
    for item in items:
        for key in item.media:
            a, b = sorted((root(first.setdefault(key, item.index)), root(item.index)))
            parent[b] = a
    most: dict[int, tuple[int, int]] = {}
    for item in items:
        place = root(item.index)
        most[place] = max(most.get(place, (0, 0)), item.cost)
    return {item.index: (*most[root(item.index)], -root(item.index)) for item in items}


def batches(items: Sequence[int], size: Callable[[int], tuple[int, int]], most: int, tokens: int) -> list[list[int]]:
    """Items of a window by their true size, (tokens, views), the largest first -> batches of at most ``most`` items
    whose padded prompts have at most ``tokens`` tokens."""
    made: list[list[int]] = []
    longest = 0
    for index in sorted(items, key=lambda i: (*(-n for n in size(i)), i)):
        if made and len(made[-1]) < most and (len(made[-1]) + 1) * longest <= tokens:
            made[-1].append(index)
        else:
            made.append([index])
            longest = size(index)[0]
    return made
