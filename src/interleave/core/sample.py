"""Record -> Sample: conversations, and the only place that knows the JSON form of LLaVA and M4-Instruct."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Role = Literal["system", "user", "assistant"]


class Note(NamedTuple):
    """What was done to a sample that is used, but not as the data has it. action: ``repaired`` or ``shortened``."""

    reason: str
    message: str
    action: str


@dataclass(frozen=True)
class Media:
    """A segment that is no text. ``kind`` is the name of the modality adapter that understands ``data``."""

    kind: str
    data: Any


@dataclass(frozen=True)
class Message:
    """What one side says: text and media in the order in which they are read."""

    role: Role
    content: Sequence[str | Media]


@dataclass(frozen=True)
class Sample:
    """One conversation of interleaved segments, before any tensor exists."""

    messages: Sequence[Message]
    id: str = ""
    source: str = ""
    notes: Sequence[Note] = ()
    """What was repaired."""

    @property
    def name(self) -> str:
        """How errors call it."""
        return "/".join(part for part in (self.source, self.id) if part) or "the sample"


@dataclass(frozen=True)
class Preference:
    """A conversation with two last replies, of which the first was preferred."""

    chosen: Sample
    rejected: Sample
