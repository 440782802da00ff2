"""How far a rank has come, as plain values: what a batch carries along and a checkpoint keeps."""

from collections.abc import Mapping
from typing import Any, TypedDict


class RankProgress(TypedDict):
    """Which places of the mixture's order a rank has used up.

    next: the place of its next draw.
    ahead: source -> the place before which all of this rank's are used up, where that is beyond ``next``: replacements
        of bad samples were taken there.
    waiting: places of the samples that were drawn and wait in the packer.
    """

    next: int
    ahead: dict[str, int]
    waiting: list[int]


class Cursor(RankProgress):
    """Everything that a rank needs to make the same batches after an interruption.

    seen: (tokens, views) of all examples that the packer was ever given.
    ledger: entries that the ledger had.
    read: samples that were read, good and bad.
    """

    seen: tuple[int, int]
    ledger: int
    read: int


def first_cursor() -> Cursor:
    """The cursor of a run that begins."""
    return {"next": 0, "ahead": {}, "waiting": [], "seen": (0, 0), "ledger": 0, "read": 0}


def as_cursor(saved: Mapping[str, Any]) -> Cursor:
    """The cursor that a batch or a checkpoint holds, where its values have no types."""
    return {
        "next": saved["next"],
        "ahead": saved["ahead"],
        "waiting": saved["waiting"],
        "seen": saved["seen"],
        "ledger": saved["ledger"],
        "read": saved["read"],
    }
