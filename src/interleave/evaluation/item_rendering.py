"""From a task's question to a prompt of tokens, or to the reason why it cannot be asked."""

from dataclasses import replace
from typing import NamedTuple

from ..core.errors import BadSample, sample_border
from ..core.sample import BROKEN_FIELD, Media, Sample
from ..core.types import Example
from ..interfaces.model_parts import ChatTokenizer
from ..interfaces.task import Task
from ..processing.over_length import Adapters
from ..processing.placement import Placement, place_visuals
from ..processing.render import render
from .reply import AskedItem, ItemRecord, Reply, media_of, prompt_text, refused


class RenderedItem(NamedTuple):
    """An item that is ready for the model.

    asked: what its line in ``replies.jsonl`` will say of it.
    sample: the question; its media are looked up again when the item's batch is asked.
    example: the rendered question without its visuals, so that pixels do not wait in memory here.
    """

    asked: AskedItem
    sample: Sample
    example: Example


def question(task: Task, record: ItemRecord, placement: Placement) -> Sample:
    """What an item asks, with its visuals where they will stand. Raises BadSample, whatever the task raises."""
    if BROKEN_FIELD in record:
        raise BadSample("broken record", str(record[BROKEN_FIELD]))
    with sample_border():
        return place_visuals(task.sample(record), placement)


def render_item(
    item: AskedItem,
    sample: Sample | BadSample,
    adapters: Adapters,
    tokenizer: ChatTokenizer,
    max_prompt_tokens: int | None,
) -> RenderedItem | Reply:
    """The item as a prompt, or the line that says why it cannot be asked.

    sample: the question, or why the task has none for this item. max_prompt_tokens: a longer prompt is refused, never
    cut; None takes any.
    """
    if isinstance(sample, BadSample):
        return refused(item, sample)
    # The item is filled in step by step: where a step fails its line says what was known until then.
    item = replace(item, prompt=prompt_text(sample))
    try:
        with sample_border():
            num_visuals = sum(_visuals_in(piece, adapters) for piece in media_of(sample))
            item = replace(item, visuals=(num_visuals, 0))  # none fed yet
            example = render(sample, adapters, tokenizer, reply=True)
            item = replace(item, prompt_tokens=len(example.input_ids))
            if max_prompt_tokens is not None and len(example.input_ids) > max_prompt_tokens:
                raise _over_length(example, max_prompt_tokens)
    except BadSample as bad:
        return refused(item, bad)
    item = replace(
        item,
        visuals=(num_visuals, _visuals_fed(sample, example, adapters)),
        views=example.views,
        shortened=tuple(note.message for note in (*sample.notes, *example.notes)),
    )
    return RenderedItem(item, sample, replace(example, visuals=()))  # ``Prepared`` keeps the pixels


def _visuals_in(media: Media, adapters: Adapters) -> int:
    """How many visuals of a piece of media must reach the model: each picture of a list, unless its kind is one that
    chooses among them by design."""
    if media.kind in adapters and adapters[media.kind].samples:
        return 1
    return len(media.data) if isinstance(media.data, (list, tuple)) else 1


def _visuals_fed(sample: Sample, example: Example, adapters: Adapters) -> int:
    """How many of them did; an adapter may have taken fewer pictures of a list than it has."""
    fed = 0  # visuals
    for media, visual in zip(media_of(sample), example.visuals, strict=False):
        fed += min(_visuals_in(media, adapters), len(visual.pixel_values))
    return fed


def _over_length(example: Example, max_prompt_tokens: int) -> BadSample:
    return BadSample(
        "over-length",
        f"{example.name}: a prompt of {len(example.input_ids)} tokens is longer than {max_prompt_tokens}; "
        f"{len(example.visual_positions)} of them "
        "are visual. Raise prompt_tokens, or show fewer frames or tiles.",
    )
