"""The nouns of the pipeline before there are tensors: a sample is a conversation of messages, each text and media."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Record = Mapping[str, object]
"""What a data set or a task holds, as plain values: a line of JSON, a row of a table."""

BROKEN_FIELD = "broken record"
"""The only field of what stands for a record that cannot be read: why."""

Role = Literal["system", "user", "assistant"]
"""Who says a message."""


class Note(NamedTuple):
    """What was done to a sample that is used, but not as the data has it; the ledger lists it.

    reason: a few words that are the same for all samples treated like this; the ledger counts by them.
    message: one line about this sample.
    action: ``repaired`` or ``shortened``.
    """

    reason: str
    message: str
    action: str


@dataclass(frozen=True)
class Media:
    """A piece of a message that is no text.

    kind: name of the modality that understands ``data``, such as ``image`` or ``video``.
    data: whatever that modality's ``prepare`` takes, such as a path, a file's bytes, or a list of paths.
    """

    kind: str
    data: Any  # object would make every adapter and task narrow what its own data set has put there


@dataclass(frozen=True)
class Message:
    """What one side says: text and media in the order in which they are read."""

    role: Role
    content: Sequence[str | Media]


@dataclass(frozen=True)
class Sample:
    """One conversation of text and media.

    messages: in the order in which they are said.
    id: how the data calls it; empty where it has no name.
    source: the data set that it comes from, as the record says; empty where it does not.
    notes: what was repaired in it.
    """

    messages: Sequence[Message]
    id: str = ""
    source: str = ""
    notes: Sequence[Note] = ()

    @property
    def name(self) -> str:
        """What errors call it: ``source/id``, or what of these is known."""
        return "/".join(part for part in (self.source, self.id) if part) or "the sample"


@dataclass(frozen=True)
class Preference:
    """Two samples that differ only in the last reply; people preferred that of ``chosen``."""

    chosen: Sample
    rejected: Sample
