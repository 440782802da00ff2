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
"""What becomes of an example that is too large.

``error``: the run stops.
``drop``: the sample is left out.
``fewer_frames``: videos and scenes are shown with fewer views, until it fits.
``truncate_text``: its end is cut off, never inside a visual, and never so that nothing of an answer is left.

Where the last two do not help, the sample is left out.
"""

Adapters = Mapping[str, ModalityAdapter]
"""By the name of the modality."""
Render = Callable[[Adapters], Example]
"""Renders one sample with the given adapters."""


@dataclass(frozen=True)
class ExampleLimits:
    """How large one example may be.

    sequence_length: tokens, as many as a row has.
    max_views: views, as many as a batch may have.
    over_length: what becomes of an example that is larger.
    """

    sequence_length: Annotated[int, Field(ge=1)]
    max_views: Annotated[int, Field(ge=1)]
    over_length: OverLength = "drop"


def check_fits(example: Example, sequence_length: int, max_views: int) -> None:
    """Raises BadSample where an example has more tokens than a row or more views than a batch."""
    if len(example.input_ids) > sequence_length:
        raise BadSample(
            "over-length",
            f"{example.name}: an example of {len(example.input_ids)} tokens does not fit into rows of "
            f"{sequence_length}; {len(example.visual_positions)} of them are visual. "
            "Raise data.sequence_length, or show fewer frames or tiles.",
        )
    if example.views > max_views:
        raise BadSample(
            "too many views",
            f"{example.name}: an example of {example.views} views does not fit into batches of {max_views}. "
            "Raise data.max_views, or show fewer frames or tiles.",
        )


def render_to_fit(render: Render, adapters: Adapters, limits: ExampleLimits) -> Example:
    """The example that ``render`` makes with ``adapters``, made smaller where it is too large and may be.

    Raises BadSample where the sample is left out, InputError where the run stops.
    """
    example = render(adapters)
    try:
        check_fits(example, limits.sequence_length, limits.max_views)
        return example
    except BadSample as bad:
        if limits.over_length == "error":
            raise InputError(f"{bad.message} data.over_length=drop leaves such samples out.") from None
        smaller = SHORTEN[limits.over_length](render, adapters, example, limits)
        if smaller is None:
            raise  # left out, for the reason that ``check_fits`` gave
        return smaller


def _drop(render: Render, adapters: Adapters, example: Example, limits: ExampleLimits) -> Example | None:
    return None


def _fewer_frames(render: Render, adapters: Adapters, example: Example, limits: ExampleLimits) -> Example | None:
    """Show ever fewer views of each video and scene, until the example fits; None where it does not with one each."""
    shown_at_first = _most_views(example, adapters)
    num_views = shown_at_first
    while num_views > 1 and not _fits(example, limits):
        # features of all modalities that can show less
        reducible = sum(_num_features(example, kind) for kind in adapters if adapters[kind].fewer(1))
        excess = len(example.input_ids) - limits.sequence_length
        # the share of the reducible features, or of the views, that would just fit; rounding may ask for another round
        share = min((reducible - excess) / max(reducible, 1), limits.max_views / max(example.views, 1))
        # at least one fewer, so that this ends; at least one
        num_views = min(num_views - 1, max(1, int(num_views * share)))
        fewer = {kind: adapter.fewer(num_views) or adapter for kind, adapter in adapters.items()}
        example = render(fewer)
    if not _fits(example, limits):
        return None
    message = f"{example.name}: shown with {num_views} views instead of {shown_at_first}"
    return replace(example, notes=(*example.notes, Note("over-length", message, "shortened")))


def _truncate_text(render: Render, adapters: Adapters, example: Example, limits: ExampleLimits) -> Example | None:
    """Cut off the end, before the first visual that would be torn or is one too many; None where no answer is left."""
    if example.documents:  # a preference is about whole replies
        return None
    end_of_text = min(limits.sequence_length, len(example.input_ids))
    views = 0
    # visuals stand in order, so the first one that does not fit decides where the text ends
    for visual, (start, end) in zip(example.visuals, example.spans, strict=True):
        views += len(visual.pixel_values)
        if start < end_of_text < end or views > limits.max_views:
            end_of_text = min(end_of_text, start)
    answers = tuple(start for start in example.answers if start < end_of_text)
    if not answers:
        return None
    num_visuals = sum(end <= end_of_text for _, end in example.spans)  # those that are whole
    message = f"{example.name}: cut from {len(example.input_ids)} tokens to {end_of_text}"
    return replace(
        example,
        input_ids=example.input_ids[:end_of_text],
        labels=example.labels[:end_of_text],
        visual_positions=example.visual_positions[example.visual_positions < end_of_text],
        visuals=example.visuals[:num_visuals],
        spans=example.spans[:num_visuals],
        answers=answers,
        notes=(*example.notes, Note("over-length", message, "shortened")),
    )


SHORTEN: Mapping[str, Callable[[Render, Adapters, Example, ExampleLimits], Example | None]] = {
    "drop": _drop,
    "fewer_frames": _fewer_frames,
    "truncate_text": _truncate_text,
}
"""What makes an example smaller, by the choice of ``OverLength``; None leaves the sample out."""


def _most_views(example: Example, adapters: Adapters) -> int:
    """The views of the largest visual that can be shown with fewer; 0 where there is none."""
    return max((len(v.pixel_values) for v in example.visuals if adapters[v.kind].fewer(1)), default=0)


def _num_features(example: Example, kind: str) -> int:
    """How many features stand for the visuals of one modality."""
    total = 0
    for visual in example.visuals:
        if visual.kind == kind:
            total += sum(piece for piece in visual.layout if isinstance(piece, int))
    return total


def _fits(example: Example, limits: ExampleLimits) -> bool:
    return len(example.input_ids) <= limits.sequence_length and example.views <= limits.max_views
