"""The folder of an evaluation: what is kept when it is killed, and what belongs together. The only place that writes
``replies.jsonl``.

While items are asked, each rank appends to a file of its own, ``replies.part-RANK.jsonl``. At the end rank 0 puts all
of them into ``replies.jsonl`` in the order of the records, so that the number of ranks changes no byte.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .reply import Reply, in_order

REPLIES, ASKED, PARTS = "replies.jsonl", "asked.json", "replies.part-*.jsonl"

Kept = dict[tuple[str, int], tuple[Reply, float]]
"""(task, index) -> the reply, and the seconds it took, 0 where they are in the results already."""


class Journal:
    """model: says which model is asked. tasks: for each chosen one what its replies depend on, as plain values."""

    def __init__(self, out: Path, model: str, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        self.out, self.model, self.tasks = out, model, tasks

    def open(self, overwrite: bool) -> None:
        """Get the folder ready; by one rank, before any other reads or writes.

        overwrite: forget replies to the chosen tasks, and all of another model. Otherwise replies that were made in
        another way are refused. Raises InputError.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        before = self._asked()
        if overwrite:
            before = self._forget(before)
        else:
            self._agree(before)
        for path in self._files():
            _cut(path)
        tasks = {**before["tasks"], **self.tasks}
        _replace(self.out / ASKED, json.dumps({"model": self.model, "tasks": tasks}, indent=1, ensure_ascii=False))

    def kept(self) -> Kept:
        """What has been asked so far. A reply that came stays, whatever came after."""
        found: Kept = {}
        for path in self._files():
            for content in _lines(path)[0]:
                reply, seconds = Reply.read(content), float(content.get("seconds", 0))
                before = found.get((reply.task, reply.index))
                if before is None or before[0].error:
                    found[reply.task, reply.index] = (reply, seconds)
        return found

    def append(self, rank: int, replies: Sequence[Reply], seconds: float) -> None:
        """One write, on disk when it returns."""
        text = "".join(reply.line(seconds=round(seconds, 4)) for reply in replies)
        with (self.out / PARTS.replace("*", str(rank))).open("ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> list[tuple[Reply, float]]:
        """All into one file -> the replies to the chosen tasks."""
        kept = self.kept()
        self.write([reply for reply, _ in kept.values()], list(self._asked()["tasks"]))
        for path in self.out.glob(PARTS):
            path.unlink()
        chosen = in_order([reply for reply, _ in kept.values() if reply.task in self.tasks], list(self.tasks))
        return [(reply, kept[reply.task, reply.index][1]) for reply in chosen]

    def update(self, replies: Sequence[Reply]) -> None:
        """Other lines in place of those of the same items, once all are in one file."""
        newest = {key: reply for key, (reply, _) in self.kept().items()}
        newest |= {(reply.task, reply.index): reply for reply in replies}
        self.write(list(newest.values()), list(self._asked()["tasks"]))

    def write(self, replies: Sequence[Reply], order: Sequence[str]) -> None:
        _replace(self.out / REPLIES, "".join(reply.line() for reply in in_order(replies, order)))

    def _files(self) -> list[Path]:
        return [path for path in (self.out / REPLIES, *sorted(self.out.glob(PARTS))) if path.is_file()]

    def _asked(self) -> dict[str, Any]:
        path = self.out / ASKED
        if path.is_file() and self._files():
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return content
        return {"model": None if self._files() else self.model, "tasks": {}}

    def _agree(self, before: Mapping[str, Any]) -> None:
        """Raises InputError where what lies here was made in another way."""
        out = "give another out=..., or overwrite=true to ask again"
        if before["model"] != self.model:
            raise InputError(f"{self.out} holds replies of another model ({', '.join(before['tasks'])}); {out}")
        for name, now in self.tasks.items():
            then = before["tasks"].get(name, now)
            for what in now:
                if then.get(what) != now[what]:
                    told = f"{what} was {then.get(what)} then and is {now[what]} now"
                    raise InputError(f"{self.out} holds replies to {name} that were made in another way: {told}; {out}")

    def _forget(self, before: dict[str, Any]) -> dict[str, Any]:
        same = before["model"] == self.model
        stay = [name for name in before["tasks"] if same and name not in self.tasks]
        replies = [reply for reply, _ in self.kept().values() if reply.task in stay] if stay else []
        for path in self._files():
            path.unlink()
        if replies:
            self.write(replies, stay)
        return {"model": self.model, "tasks": {name: before["tasks"][name] for name in stay}}


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Whole lines, and the number of bytes that they are; a line that was being written is none."""
    found, size = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            content = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        found.append(content)
        size += len(line)
    return found, size


def _cut(path: Path) -> None:
    """Drop what was torn when a process was killed."""
    size = _lines(path)[1]
    with path.open("r+b") as file:
        file.truncate(size)


def _replace(path: Path, text: str) -> None:
    """The old content or the new one, never a half."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
