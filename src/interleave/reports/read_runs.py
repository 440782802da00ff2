"""Folders that ``interleave eval`` or a training run left -> what a report shows of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..core.errors import InputError
from ..core.files import JSONObject
from ..evaluation.audit import AuditRows, rows_from_json
from ..evaluation.reply import Reply
from ..evaluation.results import Results, results_from_json

ItemKey = tuple[str, str, int]
"""Task, condition and index of an item: the same item in two runs has the same key."""


@dataclass(frozen=True)
class Run:
    """One folder of results.

    name: as the page calls it.
    folder: where it lies.
    content: of ``results.json``.
    replies: of ``replies.jsonl``, by item.
    """

    name: str
    folder: Path
    content: JSONObject
    replies: Mapping[ItemKey, Reply]

    @cached_property
    def results(self) -> Results:
        """What the run achieved, by task, condition and group."""
        return results_from_json(self.content["results"])

    def audit(self, task: str) -> AuditRows:
        """What was expected of a task and what was fed, by group; empty where the file does not say."""
        return rows_from_json(self.content.get("audit", {}).get(task, {}))

    def metric(self, task: str, group: str, name: str | None = None) -> float | None:
        """A number of the first condition, in which items are asked as they are; None where there is none.

        name: of the metric; None takes the main one.
        """
        conditions = self.results.get(task)
        if not conditions:
            return None
        result = next(iter(conditions.values())).get(group)  # the first condition is "as it is" where there is one
        if result is None:
            return None
        value = result.metrics.get(name or result.main)
        return None if value is None else float(value)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Runs are named by the end of their path, as short as they can be told apart by. Raises InputError."""
    paths = [folder.resolve().parts for folder in folders]
    length = 1
    while len({parts[-length:] for parts in paths}) < len({*paths}):
        length += 1
    return [_read(folder, "/".join(parts[-length:])) for folder, parts in zip(folders, paths, strict=True)]


def _read(folder: Path, name: str) -> Run:
    replies: dict[ItemKey, Reply] = {}
    try:
        content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        for line in (folder / "replies.jsonl").read_text(encoding="utf-8").splitlines():
            if line.strip():
                reply = Reply.from_json(json.loads(line))
                replies[reply.task, reply.condition, reply.index] = reply
        _ = content["results"]  # raises where the file is another program's
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no results: {Path(error.filename).name} is not there") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no results that can be read: {error!r}") from None
    return Run(name, folder, content, replies)
