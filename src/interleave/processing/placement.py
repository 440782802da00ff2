"""Where a conversation shows its visuals: the only place that moves them on behalf of the config."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from ..core.errors import InputError
from ..core.sample import Media, Message, Sample

Placement = Literal["interleaved", "front", "mixed"]
"""Where visuals stand.

``interleaved``: where the data has them.
``front``: before the text of their message.
``mixed``: in front for a part of the samples, where the data has them for the others.
"""

REFERENCE_WORDS = {"image": "Image", "multipatch": "Image", "video": "Video", "scene3d": "Scene"}
"""Modality -> what a reference calls its visuals; those of another modality are called by its name."""


def place_visuals(sample: Sample, placement: Placement, share: float = 0.5) -> Sample:
    """The sample with its visuals where ``placement`` wants them.

    In front, each visual of a user's message has a line to itself, and the text keeps a reference such as "Image 2" in
    every original place, counted over the whole conversation. A message whose only visual comes first stays as it is,
    and so does one without text.

    share: of the samples that ``mixed`` shows in front, from 0 to 1. The choice follows from source and id alone, so
        that every worker and every run makes the same.

    Raises InputError where ``share`` is out of range.
    """
    if not 0 <= share <= 1:
        raise InputError(f"the share of samples with visuals in front is {share}; it must be from 0 to 1")
    if placement == "interleaved" or (placement == "mixed" and _hash_fraction(sample) >= share):
        return sample
    references = _references(sample)
    messages: list[Message] = []
    for message in sample.messages:
        own = [next(references) for part in message.content if isinstance(part, Media)]
        messages.append(_visuals_first(message, own))
    return replace(sample, messages=messages)


def _hash_fraction(sample: Sample) -> float:
    """A number in [0, 1) from the hash of source and id; of source and text, where a sample has no id."""
    identity = [sample.source, sample.id]
    if not sample.id:
        identity = [sample.source, ""]
        for message in sample.messages:
            identity += [part for part in message.content if isinstance(part, str)]
    digest = hashlib.sha256("\0".join(identity).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64  # Python's own hash() differs from process to process


def _references(sample: Sample) -> Iterator[str]:
    """What the text calls each visual of the conversation, in their order: "Image 1", "Image 2", "Video 1"."""
    counts: dict[str, int] = {}
    for message in sample.messages:
        for part in message.content:
            if isinstance(part, Media):
                word = REFERENCE_WORDS.get(part.kind, part.kind.replace("_", " ").capitalize())
                counts[word] = counts.get(word, 0) + 1
                yield f"{word} {counts[word]}"


def _visuals_first(message: Message, references: list[str]) -> Message:
    """A user's message with its visuals before its text; ``references`` to them, in order, take their places."""
    media = [part for part in message.content if isinstance(part, Media)]
    has_text = any(isinstance(part, str) and part.strip() for part in message.content)
    stands_first = len(media) == 1 and message.content[0] is media[0]
    if message.role != "user" or not media or stands_first or not has_text:
        return message
    content: list[str | Media] = []
    for visual in media:
        content += [visual, "\n"]
    content[-1] = "\n" + _text_with_references(message, references)  # one string with the last line break
    return Message(message.role, content)


def _text_with_references(message: Message, references: list[str]) -> str:
    """The message's text with a reference in the place of each visual.

    A space sets a reference apart from a word that touches it, and a comma sets apart two that follow each other.
    """
    remaining = iter(references)
    text = ""
    after_reference = False  # whether nothing but spaces stands behind the last reference so far
    for part in message.content:
        if isinstance(part, Media):
            if after_reference:  # "Image 1, Image 2"
                text = text.rstrip(" ") + ", "
            elif text and text[-1].isalnum():  # "see Image 1", not "seeImage 1"
                text += " "
            text += next(remaining)
            after_reference = True
        else:
            if after_reference and part[:1].isalnum():  # "Image 1 shows", not "Image 1shows"
                text += " "
            text += part
            after_reference = after_reference and not part.strip(" ")
    return text.strip()
