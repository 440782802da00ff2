"""Known defects of the released M4-Instruct files, and how they are mended."""

from collections.abc import Callable, Mapping
from typing import Any

from interleave import Note

PLACEHOLDER = "<image>"
Repaired = tuple[dict[str, Any], Note | None]


def turns_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The turns of a record; none where they are no list of objects, which is said when the sample is read."""
    turns = record.get("conversations")
    return turns if isinstance(turns, list) and all(isinstance(turn, dict) for turn in turns) else []


def roles(record: dict[str, Any]) -> Repaired:
    """The request stands under ``gpt`` and the answer under ``human``: roles follow the turn's number instead."""
    turns = turns_of(record)
    if not turns or turns[0].get("from") != "gpt":
        return record, None
    mended = [{**turn, "from": ("human", "gpt")[i % 2]} for i, turn in enumerate(turns)]
    return {**record, "conversations": mended}, Note("swapped roles", "roles follow the turns", "repaired")


def placeholders(record: dict[str, Any]) -> Repaired:
    """One placeholder for several images: it becomes as many as there are images."""
    images, turns = record.get("image"), turns_of(record)
    count = len(images) if isinstance(images, list) else 1
    found = sum(str(turn.get("value")).count(PLACEHOLDER) for turn in turns)
    if found != 1 or count == 1:
        return record, None
    mended = [{**t, "value": str(t.get("value")).replace(PLACEHOLDER, PLACEHOLDER * count)} for t in turns]
    note = Note("one placeholder for several images", f"the placeholder stands for {count} images", "repaired")
    return {**record, "conversations": mended}, note


REPAIRS: Mapping[str, Callable[[dict[str, Any]], Repaired]] = {"roles": roles, "placeholders": placeholders}


def one_scene(record: dict[str, Any]) -> dict[str, Any]:
    """A placeholder for each view -> one, where the first stood, for all of them."""
    seen, turns = False, []
    for turn in turns_of(record):
        first, *others = str(turn.get("value")).split(PLACEHOLDER)
        text = first
        for after in others:
            text += after.lstrip() if seen else PLACEHOLDER + after
            seen = True
        turns.append({**turn, "value": text})
    return {**record, "conversations": turns} if turns else record
