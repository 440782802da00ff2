"""The 41 data sets of M4-Instruct as m4_sets.yaml lists them, and which of them a record belongs to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import yaml
from pydantic import TypeAdapter

from .record_fields import Record, metadata_of, turns_of

UNKNOWN = "other"
"""Domain and task of records whose data set is not in the table."""


@dataclass(frozen=True)
class Entry:
    """One data set of the table.

    domain: one of ``multi_image``, ``multi_frame``, ``multi_view`` and ``multi_patch``.
    task: the paper's name of the task that it belongs to.
    expected: how many samples the paper has of it, rounded to hundreds; 0 where that is not known.
    files: the released annotation files that hold it.
    folders: the released folders of its images.
    names: what else ``metadata.dataset`` may call it.
    match: regular expression for the first question of its records, where records do not name their data set; an empty
        one takes the records that match no other.
    repair: names of the repairs that its records need (``m4_repairs.REPAIRS``).
    refusals: whether it is known for answers that refuse to answer.
    share: the part of the file's samples that the paper trains on.
    """

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
"""The table's source. Indexes of annotation files are made anew when it changes."""
TABLE: Mapping[str, Entry] = TypeAdapter(dict[str, Entry]).validate_python(yaml.safe_load(TEXT))
DOMAINS = tuple(dict.fromkeys(entry.domain for entry in TABLE.values()))
TASKS = tuple(dict.fromkeys(entry.task for entry in TABLE.values()))


def _simplified(name: str) -> str:
    """Only letters and digits, in lower case: the released files spell one name in several ways."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _spellings() -> dict[str, str]:
    """Simplified name or other name of a data set -> its name in the table."""
    known = {}
    for name, entry in TABLE.items():
        for spelling in (name, *entry.names):
            known[_simplified(spelling)] = name
    return known


_NAME_OF = _spellings()
_REFUSAL = re.compile(
    r"(?i)^\s*(i'?m|i am) (very )?sorry|\bcan(?:'t|not| not) (assist|help|provide)\b|unable to assist"
)


def set_of(record: Record, file: str) -> str:
    """The name of the data set that a record belongs to.

    It is what ``metadata.dataset`` says, in the table's spelling where the table knows it. Without one, a record with a
    video is told by its first question, and any other by its file, where that holds one data set only.
    """
    named = metadata_of(record).get("dataset")
    if named:
        return _NAME_OF.get(_simplified(str(named)), str(named))
    if "video" in record:
        turns = turns_of(record)
        return _set_of_question(str(turns[0].get("value")) if turns else "None")
    of_file = [name for name, entry in TABLE.items() if file in entry.files]
    return of_file[0] if len(of_file) == 1 else str(record.get("source") or "unnamed")


def _set_of_question(question: str) -> str:
    """The first data set whose ``match`` is found in the question, else the one whose ``match`` is empty."""
    otherwise = ""
    for name, entry in TABLE.items():
        if entry.match and re.search(entry.match, question):
            return name
        if entry.match == "":
            otherwise = otherwise or name
    return otherwise


def is_refusal(record: Record) -> bool:
    """Whether the last turn refuses to answer, such as ``I'm sorry, I cannot assist with that``."""
    turns = turns_of(record)
    return bool(turns) and bool(_REFUSAL.search(str(turns[-1].get("value"))))
