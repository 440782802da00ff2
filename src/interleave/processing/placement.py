"""Where a conversation shows its visuals: the only place that moves them."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from ..core.errors import InputError
from ..core.sample import Media, Message, Sample

Placement = Literal["interleaved", "front", "mixed"]
"""``interleaved``: where the data puts them. ``front``: before the text of their turn. ``mixed``: both, by sample."""

WORDS = {"image": "Image", "multipatch": "Image", "video": "Video", "scene3d": "Scene"}
"""What a reference calls a visual; one of another modality is called by its name."""


def placed(sample: Sample, placement: Placement, share: float = 0.5) -> Sample:
    """The sample with its visuals where ``placement`` wants them.

    In front, each visual of a user's turn has a line to itself, and the text keeps a reference such as "Image 2" in
    every original place, counted over the whole conversation. A turn whose only visual comes first stays as it is, and
    so does one without text. share: of the samples of ``mixed`` that have them in front; the choice follows from
    source and id alone, so every worker and every run makes the same. Raises InputError.
    """
    if not 0 <= share <= 1:
        raise InputError(f"the share of samples with visuals in front is {share}; it must be from 0 to 1")
    if placement == "interleaved" or (placement == "mixed" and _draw(sample) >= share):
        return sample
    names = _names(sample)
    turns = [
        _in_front(turn, [next(names) for part in turn.content if isinstance(part, Media)]) for turn in sample.messages
    ]
    return replace(sample, messages=turns)


def _draw(sample: Sample) -> float:
    """A number in 0..1 for each sample. One without an id is known by its words."""
    words = [part for turn in sample.messages for part in turn.content if isinstance(part, str)]
    known_by = "\0".join([sample.source, sample.id] if sample.id else [sample.source, "", *words])
    return int.from_bytes(hashlib.sha256(known_by.encode()).digest()[:8], "big") / 2**64


def _names(sample: Sample) -> Iterator[str]:
    """References to the visuals of the conversation, in order; each word counts for itself."""
    seen: dict[str, int] = {}
    for turn in sample.messages:
        for part in turn.content:
            if isinstance(part, Media):
                word = WORDS.get(part.kind, part.kind.replace("_", " ").capitalize())
                seen[word] = seen.get(word, 0) + 1
                yield f"{word} {seen[word]}"


def _in_front(turn: Message, names: list[str]) -> Message:
    media = [part for part in turn.content if isinstance(part, Media)]
    has_text = any(isinstance(part, str) and part.strip() for part in turn.content)
    alone = len(media) == 1 and turn.content[0] is media[0]
    if turn.role != "user" or not media or alone or not has_text:
        return turn
    front = [part for one in media for part in (one, "\n")]
    front[-1] = "\n" + _referring(turn, names)
    return Message(turn.role, front)


def _referring(turn: Message, names: list[str]) -> str:
    """The turn's text with a reference in the place of each visual, set apart from what stands beside it."""
    waiting, text, after_name = iter(names), "", False
    for part in turn.content:
        if isinstance(part, Media):
            if after_name:
                text = text.rstrip(" ") + ", "
            elif text and text[-1].isalnum():
                text += " "
            text, after_name = text + next(waiting), True
        else:
            if after_name and part[:1].isalnum():
                text += " "
            text, after_name = text + part, after_name and not part.strip(" ")
    return text.strip()
