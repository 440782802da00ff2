"""What was not trained on as it stood in the data: the only place that counts and writes it down."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..core.errors import InputError
from ..core.sample import Note

log = logging.getLogger(__name__)

LOST = frozenset({"replaced", "left out"})
"""Actions after which a sample was not trained on."""
ACTIONS = ("lost", "repaired", "shortened")
"""What totals tell apart."""
LISTED = 20
"""Lost samples that a message names."""


@dataclass(frozen=True)
class Entry:
    """One line: a sample of a source, what is wrong with it, and what was done."""

    source: str
    index: int
    id: str
    reason: str
    message: str
    action: str


class Ledger:
    """Each sample stands in it once for each reason, however often it is read.

    path: a JSONL file that all ranks append to; None keeps entries in memory only. max_bad: lost samples that stop the
    run, as a count or as a share of what was read. Of several ranks each knows its own; after each step what all of
    them have lost is held against the limit, too.
    """

    def __init__(self, path: Path | None = None, max_bad: float | None = None) -> None:
        if max_bad is not None and (max_bad < 0 or (max_bad > 1 and max_bad != int(max_bad))):
            raise InputError(f"max_bad is {max_bad}; it must be a whole number of samples, or a share from 0 to 1")
        self.path, self.max_bad = path, max_bad
        self.entries: list[Entry] = []
        self.counts: Counter[str] = Counter()
        self.read = 0
        self._seen: set[tuple[str, int, str]] = set()

    def add(self, entry: Entry) -> None:
        """Raises InputError with the list where too many are lost."""
        if _key(entry) in self._seen:
            return
        self._seen.add(_key(entry))
        self.entries.append(entry)
        self.counts[_kind(entry)] += 1
        self._append(entry)
        if entry.action in LOST:
            log.warning("%s (%s): %s", entry.action, entry.reason, entry.message)
            self.hold()

    def note(self, source: str, index: int, name: str, notes: Sequence[Note]) -> None:
        """A sample was used, but not as it stands in the data."""
        for note in notes:
            self.add(Entry(source, index, name, *note))

    def lost(self) -> list[Entry]:
        return [e for e in self.entries if e.action in LOST]

    def summary(self) -> str:
        """How many samples were lost, repaired and shortened, for which reasons."""
        told = []
        for action in ACTIONS:
            found = [e for e in self.entries if _kind(e) == action]
            listed = ", ".join(f"{n} {reason}" for reason, n in Counter(e.reason for e in found).most_common())
            if count := len({(e.source, e.index) for e in found}):
                told.append(f"{count} {'sample' if count == 1 else 'samples'} {action}: {listed}")
        return "; ".join(told)

    def state(self, count: int) -> list[dict[str, Any]]:
        """The first ``count`` entries, for a checkpoint."""
        return [asdict(entry) for entry in self.entries[:count]]

    def restore(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Begin with the entries of a checkpoint, or of several ranks, each once."""
        known = {_key(entry): entry for entry in map(_entry, reversed(entries))}
        self.entries, self._seen = list(known.values())[::-1], set(known)
        self.counts = Counter(_kind(entry) for entry in self.entries)

    def rewrite(self) -> None:
        """Begin the file anew, with the entries that are in memory."""
        if not self.path:
            return
        part = self.path.with_name(f".{self.path.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("".join(map(_line, self.entries)), encoding="utf-8")
        if self.entries:
            part.replace(self.path)
        else:
            part.unlink()
            self.path.unlink(missing_ok=True)

    def _append(self, entry: Entry) -> None:
        if not self.path:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"), self.path.open("a", encoding="utf-8") as file:
            file.write(_line(entry))

    def over(self, lost: int, read: int) -> bool:
        """Whether ``lost`` samples of those ``read`` are more than ``max_bad``."""
        if self.max_bad is None:
            return False
        share = 0 < self.max_bad < 1
        return lost > (self.max_bad * max(read, 1 / self.max_bad) if share else self.max_bad)

    def hold(self) -> None:
        """Raises InputError with the list where too many are lost."""
        if not self.over(self.counts["lost"], self.read):
            return
        lost = self.lost()
        told = "; ".join(f"{e.source}[{e.index}] {e.message}" for e in lost[:LISTED])
        more = f"; and {len(lost) - LISTED} more" if len(lost) > LISTED else ""
        raise InputError(
            f"{len(lost)} of {self.read} samples cannot be used, and data.max_bad is {self.max_bad:g}: {told}{more}"
        )


def _kind(entry: Entry) -> str:
    return "lost" if entry.action in LOST else entry.action


def _key(entry: Entry) -> tuple[str, int, str]:
    return entry.source, entry.index, entry.reason


def _entry(saved: Mapping[str, Any]) -> Entry:
    return Entry(**saved)


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry), ensure_ascii=False) + "\n"


def read_quarantine(path: str | Path) -> dict[tuple[str, int], str]:
    """A ledger of another run -> (source, index) of each lost sample, and its id. Raises InputError."""
    try:
        lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
        return {(e["source"], int(e["index"])): str(e["id"]) for e in lines if e["action"] in LOST}
    except OSError as error:
        raise InputError(f"data.quarantine: {path} cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"data.quarantine: {path} is no ledger of a run: {error!r}") from None
