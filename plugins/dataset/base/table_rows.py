"""Tables and archives whose rows are records with their media inside: what their readers share."""

from collections.abc import Mapping
from typing import Any

from interleave import BadSample, Sample, sample_from_llava


def to_sample(row: Mapping[str, Any], media: str, kinds: Mapping[str, str]) -> Sample:
    """A row with ``conversations`` (or a ``caption``), and ``image``, ``images`` or ``video`` as paths or bytes."""
    record = dict(row)
    if "images" in record and record.get("image") is None:
        record["image"] = record.pop("images")
    turns = record.get("conversations") or record.get("messages")
    if turns is None and isinstance(text := record.get("caption") or record.get("text"), str):
        turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": text}]
    if turns is None:
        raise BadSample("no turns", f"the row has {', '.join(sorted(record)) or 'nothing'} and no conversations")
    if isinstance(turns, (str, Mapping)) or not all(isinstance(turn, Mapping) for turn in turns):
        raise BadSample("broken record", "the row's conversations are no list of turns")
    record["conversations"] = [_turn(turn) for turn in turns]
    return sample_from_llava(record, media, kinds)


def _turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    return {"from": turn.get("from", turn.get("role")), "value": turn.get("value", turn.get("content"))}
