"""In which order items are asked, and which go together: decided before any media is opened, the same on every rank."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..core.errors import BadSample, sample_border
from ..interfaces.task import Task
from ..processing.placement import Placement
from .item_rendering import question
from .media_prefetch import media_key
from .reply import ItemRecord, media_of, prompt_text, short_hash

MAX_BATCHES_PER_WINDOW = 4
"""A window's items are prepared together and then sorted by their true size; more batches would need more memory."""
MIN_WINDOWS = 16
"""Windows of a task that has at least as many batches, so that the ranks' shares are about equal."""


@dataclass(frozen=True)
class Outline:
    """What is known of an item without opening its media.

    index: position in the task's records.
    cost: pieces of media, and characters of the prompt; (0, 0) for an item that cannot be asked.
    media: a key for each piece of media, see ``media_key``.
    mark: a hash that changes with what is asked.
    before: items whose replies this one goes on from, the first one first; see ``Task.after``.
    """

    index: int
    cost: tuple[int, int]
    media: tuple[str, ...]
    mark: str
    before: tuple[int, ...] = ()


def outlines(task: Task, placement: Placement = "interleaved") -> list[Outline]:
    """One for each record of a task, in their order. placement: where visuals will stand when the items are asked."""
    records = task.records()
    predecessors = [task.after(record) for record in records]
    outlined = []
    for index, record in enumerate(records):
        outline = _outline(task, index, record, placement)
        outlined.append(replace(outline, before=_chain(index, predecessors)))
    return outlined


def _chain(index: int, predecessors: Sequence[int | None]) -> tuple[int, ...]:
    """All items that an item goes on from, directly or through others, the first one first."""
    chain: list[int] = []
    previous = predecessors[index]
    while previous is not None:
        chain.append(previous)
        previous = predecessors[previous]
    return tuple(reversed(chain))


def _outline(task: Task, index: int, record: ItemRecord, placement: Placement) -> Outline:
    name = f"{record.get('id', index)}"
    try:
        with sample_border():
            name += f" {task.condition(record)}"
        sample = question(task, record, placement)
    except BadSample as bad:  # costs nothing; once it can be read its mark is another
        return Outline(index, (0, 0), (), short_hash(name, bad.reason))
    keys = tuple(media_key(piece) for piece in media_of(sample))
    prompt = prompt_text(sample)
    return Outline(index, (len(keys), len(prompt)), keys, short_hash(name, prompt, *keys))


def windows(items: Sequence[Outline], batch_size: int) -> list[list[int]]:
    """Items in the order of asking, cut into windows: runs of indices that are planned together and go to one rank.

    The largest come first, so that too little memory shows at once and no rank ends with the longest work; items that
    share media stand side by side. Every window but the last is a whole number of batches.
    """
    clusters = _clusters(items)

    def largest_first(item: Outline) -> tuple[int, ...]:
        cost = (*clusters[item.index], *item.cost)
        return (*(-number for number in cost), item.index)

    ordered = [item.index for item in sorted(items, key=largest_first)]
    batches_per_window = len(items) // (batch_size * MIN_WINDOWS)
    size = batch_size * min(MAX_BATCHES_PER_WINDOW, max(1, batches_per_window))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _clusters(items: Sequence[Outline]) -> dict[int, tuple[int, int, int]]:
    """For each item its cluster's largest cost, and minus the cluster's first index, which keeps clusters apart.

    A cluster is all items that are linked by shared media, also through others: a union-find over items.
    """
    parent = {item.index: item.index for item in items}

    def root(index: int) -> int:
        while parent[index] != index:
            grandparent = parent[parent[index]]  # halving the path keeps later look-ups short
            parent[index] = grandparent
            index = grandparent
        return index

    first_with: dict[str, int] = {}  # a piece of media -> the first item that has it
    for item in items:
        for key in item.media:
            other = first_with.setdefault(key, item.index)
            low, high = sorted((root(other), root(item.index)))
            parent[high] = low  # the root of a cluster is its smallest index
    largest: dict[int, tuple[int, int]] = {}  # root -> the largest cost, by media first
    for item in items:
        cluster = root(item.index)
        largest[cluster] = max(largest.get(cluster, (0, 0)), item.cost)
    return {item.index: (*largest[root(item.index)], -root(item.index)) for item in items}


def batches(
    items: Sequence[int], size: Callable[[int], tuple[int, int]], max_items: int, max_tokens: int
) -> list[list[int]]:
    """Items of a window, the largest first, cut into batches.

    size: (tokens, views) of an item's prompt. A batch has at most ``max_items`` items, and their prompts, padded to the
    longest, at most ``max_tokens`` tokens; an item that alone has more is a batch by itself.
    """

    def largest_first(index: int) -> tuple[int, int, int]:
        tokens, views = size(index)
        return -tokens, -views, index

    made: list[list[int]] = []
    longest = 0  # tokens of the current batch's first prompt, to which the others are padded
    for index in sorted(items, key=largest_first):
        if made and len(made[-1]) < max_items and (len(made[-1]) + 1) * longest <= max_tokens:
            made[-1].append(index)
        else:
            made.append([index])
            longest = size(index)[0]
    return made
