"""What was not trained on as it stood in the data: the only place that counts and writes it down."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from filelock import FileLock

from ..core.errors import InputError
from ..core.files import replacing
from ..core.sample import Note

log = logging.getLogger(__name__)

LOST = frozenset({"replaced", "left out"})
"""Actions after which a sample was not trained on."""
OUTCOMES = ("lost", "repaired", "shortened")
"""What totals tell apart: any action in ``LOST``, and the two others."""
LISTED = 20
"""Lost samples that a message names, at most."""

EntryKey = tuple[str, int, str]
"""Source, number and reason: what makes two entries the same."""


class SavedEntry(TypedDict):
    """An entry as plain values, in a line of the file and in a checkpoint; the fields are those of ``Entry``."""

    source: str
    index: int
    id: str
    reason: str
    message: str
    action: str


@dataclass(frozen=True)
class Entry:
    """One sample that was lost, repaired or shortened, for one reason.

    source: name of the data set.
    index: number of the sample in it.
    id: how the data calls the sample.
    reason: a few words that are the same for all samples of this kind; totals are counted by it.
    message: what is wrong with this one.
    action: what was done: one of ``LOST``, ``repaired`` or ``shortened``.
    """

    source: str
    index: int
    id: str
    reason: str
    message: str
    action: str

    @property
    def key(self) -> EntryKey:
        return self.source, self.index, self.reason

    @property
    def outcome(self) -> str:
        """Which of ``OUTCOMES`` it counts as."""
        return "lost" if self.action in LOST else self.action

    def saved(self) -> SavedEntry:
        return {
            "source": self.source,
            "index": self.index,
            "id": self.id,
            "reason": self.reason,
            "message": self.message,
            "action": self.action,
        }

    def line(self) -> str:
        """The entry as a line of JSONL."""
        return json.dumps(self.saved(), ensure_ascii=False) + "\n"


class Ledger:
    """The list of samples that were lost, repaired or shortened, each once for each reason, however often it is read.

    Of several ranks each has a ledger of its own in memory, and all append to one file; ``max_bad`` is held against the
    own losses at once, and against those of all ranks at log steps (``DataTotals``).

    entries: in the order in which they were met.
    counts: number of entries by outcome.
    read: samples that this rank has read, good and bad.
    """

    def __init__(self, path: Path | None = None, max_bad: float | None = None) -> None:
        """path: a JSONL file; None keeps entries in memory only.
        max_bad: how many samples may be lost before the run stops, as a count (0 or a whole number from 1 on) or as a
            share (between 0 and 1) of what was read. None: any number.

        Raises InputError where ``max_bad`` is neither.
        """
        if max_bad is not None and (max_bad < 0 or (max_bad > 1 and max_bad != int(max_bad))):
            raise InputError(f"max_bad is {max_bad}; it must be a whole number of samples, or a share from 0 to 1")
        self.path = path
        self.max_bad = max_bad
        self.entries: list[Entry] = []
        self.counts: Counter[str] = Counter()
        self.read = 0
        self._known: set[EntryKey] = set()  # of all entries

    def add(self, entry: Entry) -> None:
        """Add an entry that is not there yet, in memory and in the file. Raises InputError as ``check_limit`` does."""
        if entry.key in self._known:  # met again in a later epoch
            return
        self._known.add(entry.key)
        self.entries.append(entry)
        self.counts[entry.outcome] += 1
        self._append(entry)
        if entry.action in LOST:
            log.warning("%s (%s): %s", entry.action, entry.reason, entry.message)
            self.check_limit()

    def note(self, source: str, index: int, sample_id: str, notes: Sequence[Note]) -> None:
        """Add that a sample was used, but not as it stands in the data; one entry for each note."""
        for note in notes:
            self.add(Entry(source, index, sample_id, note.reason, note.message, note.action))

    def lost(self) -> list[Entry]:
        """The entries of samples that were not trained on."""
        return [entry for entry in self.entries if entry.action in LOST]

    def summary(self) -> str:
        """How many samples were lost, repaired and shortened, for which reasons; empty where none was."""
        sentences: list[str] = []
        for outcome in OUTCOMES:
            entries = [entry for entry in self.entries if entry.outcome == outcome]
            if not entries:
                continue
            reasons = Counter(entry.reason for entry in entries)
            listed = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
            count = len({(entry.source, entry.index) for entry in entries})  # a sample may have several reasons
            sentences.append(f"{count} {'sample' if count == 1 else 'samples'} {outcome}: {listed}")
        return "; ".join(sentences)

    def outcomes(self, count: int) -> Counter[str]:
        """The number of entries by outcome among the first ``count``."""
        return Counter(entry.outcome for entry in self.entries[:count])

    def state(self, count: int) -> list[SavedEntry]:
        """The first ``count`` entries, for a checkpoint: those that its cursor has passed."""
        return [entry.saved() for entry in self.entries[:count]]

    def restore(self, saved: Sequence[SavedEntry]) -> None:
        """Replace the entries in memory by those of a checkpoint, or of several ranks, each once."""
        entries: dict[EntryKey, Entry] = {}
        for fields in reversed(saved):  # so that of entries with one key the message of the first stays
            entry = Entry(**fields)
            entries[entry.key] = entry
        self.entries = list(reversed(entries.values()))
        self._known = set(entries)
        self.counts = Counter(entry.outcome for entry in self.entries)

    def rewrite(self) -> None:
        """Make the file hold the entries that are in memory and no others; without entries there is no file."""
        if not self.path:
            return
        with replacing(self.path) as part:
            part.write_text("".join(entry.line() for entry in self.entries), encoding="utf-8")
        if not self.entries:  # a run without losses leaves no file
            self.path.unlink()

    def exceeds_limit(self, lost: int, read: int) -> bool:
        """Whether ``lost`` samples out of ``read`` are more than ``max_bad``."""
        if self.max_bad is None:
            return False
        if 0 < self.max_bad < 1:
            # a share; one sample may be lost from the start, though it is more than the share of the few read by then
            return lost > self.max_bad * max(read, 1 / self.max_bad)
        return lost > self.max_bad

    def check_limit(self) -> None:
        """Raises InputError with the list where more than ``max_bad`` are lost."""
        if not self.exceeds_limit(self.counts["lost"], self.read):
            return
        lost = self.lost()
        # one line, since errors are; the file has all of them
        listed = "; ".join(f"{entry.source}[{entry.index}] {entry.message}" for entry in lost[:LISTED])
        more = f"; and {len(lost) - LISTED} more" if len(lost) > LISTED else ""
        raise InputError(
            f"{len(lost)} of {self.read} samples cannot be used, and data.max_bad is {self.max_bad:g}: {listed}{more}"
        )

    def _append(self, entry: Entry) -> None:
        """Add a line to the file, which other ranks append to at the same time."""
        if not self.path:
            return
        # a lock, since lines of several processes could else run into each other
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"), self.path.open("a", encoding="utf-8") as file:
            file.write(entry.line())


def read_quarantine(path: str | Path) -> dict[tuple[str, int], str]:
    """Read the ledger of another run: (source, number) of each sample that was lost -> its id. Raises InputError."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        entries: list[Mapping[str, str | int]] = [json.loads(line) for line in lines if line.strip()]
        lost = [entry for entry in entries if entry["action"] in LOST]  # repaired samples are used again
        return {(str(entry["source"]), int(entry["index"])): str(entry["id"]) for entry in lost}
    except OSError as error:
        raise InputError(f"data.quarantine: {path} cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"data.quarantine: {path} is no ledger of a run: {error!r}") from None
