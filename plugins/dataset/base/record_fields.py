"""Fields of records in the JSON form of LLaVA and M4-Instruct, read without trusting what the file holds."""

from collections.abc import Mapping

Record = Mapping[str, object]
"""One record of an annotation file, as plain values."""
Turn = Mapping[str, object]
"""One entry of ``conversations``: ``from`` says who speaks, ``value`` is the text."""

PLACEHOLDER = "<image>"
"""Stands in a text where a picture, video or scene is read."""


def turns_of(record: Record) -> list[Turn]:
    """The record's ``conversations``; empty unless they are a list of objects.

    Nothing is raised here: ``interleave.sample_from_llava`` reports a broken conversation when the sample is read.
    """
    turns = record.get("conversations")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return []
    return list(turns)


def metadata_of(record: Record) -> Mapping[str, object]:
    """The record's ``metadata``; empty unless it is an object."""
    metadata = record.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def id_of(record: Record, index: int) -> str:
    """The record's own name: ``sample_id``, else ``id``, else its number in the data set."""
    return str(record.get("sample_id", record.get("id", index)))
