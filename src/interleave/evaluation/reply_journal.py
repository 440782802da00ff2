"""The folder of an evaluation: what is kept when it is killed, and what belongs together. The only place that writes
``replies.jsonl`` and ``asked.json``.

While items are asked, each rank appends to a file of its own, ``replies.part-RANK.jsonl``. At the end rank 0 puts all
of them into ``replies.jsonl`` in the order of the records, so that the number of ranks changes no byte.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from ..core.errors import InputError
from ..core.files import JSONObject, replacing
from .reply import Reply, in_order

REPLIES, ASKED, PARTS = "replies.jsonl", "asked.json", "replies.part-*.jsonl"


class TimedReply(NamedTuple):
    """A reply, and the seconds that it took; 0 where an earlier run's results count them already."""

    reply: Reply
    seconds: float


Kept = Mapping[tuple[str, int], TimedReply]
"""(task, index) -> its reply."""
Manner = Mapping[str, object]
"""What replies to a task depend on besides the model, as plain values by name."""


class AskedFile(TypedDict):
    """``asked.json``. model: fingerprint of the model; None where the folder has replies and does not say of which.
    tasks: in which manner the replies to each task were made."""

    model: str | None
    tasks: dict[str, Manner]


class Journal:
    """Replies on disk, kept as they come."""

    def __init__(self, out: Path, model: str, tasks: Mapping[str, Manner]) -> None:
        """out: the folder. model: fingerprint of the model that is asked. tasks: the chosen ones."""
        self.out, self.model, self.tasks = out, model, tasks

    def open(self, overwrite: bool) -> None:
        """Get the folder ready; by one rank, before any other reads or writes.

        overwrite: forget replies to the chosen tasks, and all of another model. Otherwise replies that were made in
        another way are refused. Raises InputError.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        before = self._asked()  # of an earlier evaluation
        if overwrite:
            before = self._forget(before)
        else:
            self._check_same_manner(before)
        for path in self._files():
            _cut_torn_line(path)
        now: AskedFile = {"model": self.model, "tasks": {**before["tasks"], **self.tasks}}
        with replacing(self.out / ASKED) as part:
            part.write_text(json.dumps(now, indent=1, ensure_ascii=False), encoding="utf-8")

    def kept(self) -> Kept:
        """What has been asked so far. Of several lines of an item the first one with a reply counts, if any has."""
        found: dict[tuple[str, int], TimedReply] = {}
        for path in self._files():
            for content in _whole_lines(path)[0]:
                reply = Reply.from_json(content)
                # an item that failed is asked again, and a later line may have its reply
                before = found.get((reply.task, reply.index))
                if before is None or before.reply.error:
                    found[reply.task, reply.index] = TimedReply(reply, float(content.get("seconds", 0)))
        return found

    def append(self, rank: int, replies: Sequence[Reply], seconds: float) -> None:
        """Write lines to the rank's file; they are on disk when it returns. seconds: that each reply took."""
        text = "".join(reply.line(seconds=round(seconds, 4)) for reply in replies)
        with (self.out / PARTS.replace("*", str(rank))).open("ab") as file:
            file.write(text.encode())  # in one write, so that two processes cannot mix their lines
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> list[TimedReply]:
        """Put the files of all ranks into one. Returns the replies to the chosen tasks, in order."""
        kept = self.kept()  # also of tasks that are not chosen now
        self.write([timed.reply for timed in kept.values()], list(self._asked()["tasks"]))
        for path in self.out.glob(PARTS):  # after the whole file is there: killed here, nothing is lost
            path.unlink()
        chosen = [timed.reply for timed in kept.values() if timed.reply.task in self.tasks]
        return [kept[reply.task, reply.index] for reply in in_order(chosen, list(self.tasks))]

    def update(self, replies: Sequence[Reply]) -> None:
        """Lines in place of those of the same items, once all are in one file."""
        newest = {key: timed.reply for key, timed in self.kept().items()}
        for reply in replies:
            newest[reply.task, reply.index] = reply
        self.write(list(newest.values()), list(self._asked()["tasks"]))

    def write(self, replies: Sequence[Reply], task_names: Sequence[str]) -> None:
        """``replies.jsonl`` anew, tasks in the order of their names here."""
        text = "".join(reply.line() for reply in in_order(replies, task_names))
        with replacing(self.out / REPLIES) as part:
            part.write_text(text, encoding="utf-8")

    def _files(self) -> list[Path]:
        """All files with replies; the whole one comes first, as its lines are older."""
        paths = [self.out / REPLIES, *sorted(self.out.glob(PARTS))]
        return [path for path in paths if path.is_file()]

    def _asked(self) -> AskedFile:
        path = self.out / ASKED
        if path.is_file() and self._files():
            content: AskedFile = json.loads(path.read_text(encoding="utf-8"))
            return content
        return {"model": None if self._files() else self.model, "tasks": {}}

    def _check_same_manner(self, before: AskedFile) -> None:
        """Raises InputError where replies here were made by another model or in another manner."""
        way_out = "give another out=..., or overwrite=true to ask again"
        if before["model"] != self.model:
            raise InputError(f"{self.out} holds replies of another model ({', '.join(before['tasks'])}); {way_out}")
        for task, now in self.tasks.items():
            then = before["tasks"].get(task, now)  # a task that was not asked here before agrees with itself
            for name in now:
                if then.get(name) != now[name]:
                    change = f"{name} was {then.get(name)} then and is {now[name]} now"
                    raise InputError(
                        f"{self.out} holds replies to {task} that were made in another way: {change}; {way_out}"
                    )

    def _forget(self, before: AskedFile) -> AskedFile:
        """Remove replies to the chosen tasks, and all of another model."""
        same_model = before["model"] == self.model
        staying = [task for task in before["tasks"] if same_model and task not in self.tasks]
        replies = [timed.reply for timed in self.kept().values() if timed.reply.task in staying] if staying else []
        for path in self._files():
            path.unlink()
        if replies:
            self.write(replies, staying)
        return {"model": self.model, "tasks": {task: before["tasks"][task] for task in staying}}


def _whole_lines(path: Path) -> tuple[list[JSONObject], int]:
    """The lines before the first that is torn, and how many bytes they are.

    A line is torn where a process was killed while it wrote: it has no end, or is no JSON.
    """
    contents: list[JSONObject] = []
    size = 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            content = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        contents.append(content)
        size += len(line)
    return contents, size


def _cut_torn_line(path: Path) -> None:
    _, size = _whole_lines(path)
    with path.open("r+b") as file:
        file.truncate(size)
