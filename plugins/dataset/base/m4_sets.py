"""The 41 data sets of M4-Instruct, and which of them a record belongs to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import TypeAdapter

from .m4_repairs import turns_of

Domain = Literal["multi_image", "multi_frame", "multi_view", "multi_patch"]
UNKNOWN = "other"
"""The domain of records whose data set does not stand in the table."""


@dataclass(frozen=True)
class Entry:
    """One data set as m4_sets.yaml has it. expected: samples, rounded to hundreds. share: of the file's samples."""

    domain: str
    task: str
    expected: int = 0
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    match: str | None = None
    repair: tuple[str, ...] = ()
    refusals: bool = False
    share: float = 1.0


TEXT = files(__package__).joinpath("m4_sets.yaml").read_text(encoding="utf-8")


TABLE: Mapping[str, Entry] = TypeAdapter(dict[str, Entry]).validate_python(yaml.safe_load(TEXT))
DOMAINS = tuple(dict.fromkeys(entry.domain for entry in TABLE.values()))
TASKS = tuple(dict.fromkeys(entry.task for entry in TABLE.values()))


def _plain(name: str) -> str:
    """Released files write names in several ways."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


_KNOWN = {_plain(written): name for name, entry in TABLE.items() for written in (name, *entry.names)}
REFUSAL = re.compile(r"(?i)^\s*(i'?m|i am) (very )?sorry|\bcan(?:'t|not| not) (assist|help|provide)\b|unable to assist")


def set_of(record: Mapping[str, Any], file: str) -> str:
    """The table's name of a record's data set; what the record says where the table does not know it."""
    metadata = record.get("metadata")
    said = metadata.get("dataset") if isinstance(metadata, dict) else None
    if said:
        return _KNOWN.get(_plain(str(said)), str(said))
    if "video" in record:
        question = str((turns_of(record) or [{}])[0].get("value"))
        found = [name for name, entry in TABLE.items() if entry.match and re.search(entry.match, question)]
        return found[0] if found else next(name for name, entry in TABLE.items() if entry.match == "")
    of_file = [name for name, entry in TABLE.items() if file in entry.files]
    return of_file[0] if len(of_file) == 1 else str(record.get("source") or "unnamed")


def is_refusal(record: Mapping[str, Any]) -> bool:
    """Whether the last thing said is that the question is not answered."""
    turns = turns_of(record)
    return bool(turns) and bool(REFUSAL.search(str(turns[-1].get("value"))))
