"""Known defects of the released M4-Instruct files, and how records are repaired when they are read."""

from collections.abc import Callable, Mapping

from interleave import Note

from .record_fields import PLACEHOLDER, Record, turns_of

Repaired = tuple[Record, Note | None]
"""The record, and what was repaired; None where the record does not have the defect and stays as it is."""


def repair_roles(record: Record) -> Repaired:
    """Some conversations have the request under ``gpt`` and the answer under ``human``.

    Where the first turn is from ``gpt``, the roles follow the number of the turn instead.
    """
    turns = turns_of(record)
    if not turns or turns[0].get("from") != "gpt":
        return record, None
    repaired = [{**turn, "from": ("human", "gpt")[i % 2]} for i, turn in enumerate(turns)]
    return {**record, "conversations": repaired}, Note("swapped roles", "roles follow the turns", "repaired")


def repair_placeholders(record: Record) -> Repaired:
    """Some records have one placeholder for several images: it becomes as many as there are images."""
    images = record.get("image")
    turns = turns_of(record)
    count = len(images) if isinstance(images, list) else 1
    found = sum(str(turn.get("value")).count(PLACEHOLDER) for turn in turns)
    if found != 1 or count == 1:
        return record, None
    repaired = []
    for turn in turns:
        text = str(turn.get("value")).replace(PLACEHOLDER, PLACEHOLDER * count)
        repaired.append({**turn, "value": text})
    note = Note("one placeholder for several images", f"the placeholder stands for {count} images", "repaired")
    return {**record, "conversations": repaired}, note


REPAIRS: Mapping[str, Callable[[Record], Repaired]] = {"roles": repair_roles, "placeholders": repair_placeholders}
"""The names that ``repair`` in m4_sets.yaml uses -> functions."""


def share_placeholder(record: Record) -> Record:
    """A placeholder for each view -> a single one, where the first stood: all images are then one scene or video."""
    seen = False
    turns = []
    for turn in turns_of(record):
        text, *others = str(turn.get("value")).split(PLACEHOLDER)
        for after in others:
            # further placeholders vanish together with the space behind them
            text += after.lstrip() if seen else PLACEHOLDER + after
            seen = True
        turns.append({**turn, "value": text})
    return {**record, "conversations": turns} if turns else record
