"""Folders that ``interleave eval`` or a training run left -> what a report shows of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..evaluation.reply import Reply
from ..evaluation.results import Results

Key = tuple[str, str, int]
"""Task, condition and number of an item."""


@dataclass(frozen=True)
class Run:
    """content: of ``results.json``. replies: of ``replies.jsonl``, by item."""

    name: str
    folder: Path
    content: Mapping[str, Any]
    replies: Mapping[Key, Reply]

    @property
    def results(self) -> Results:
        found: Results = self.content["results"]
        return found

    def audit(self, task: str) -> Mapping[str, Mapping[str, Any]]:
        """Rows of what was expected and fed, by group."""
        rows: Mapping[str, Mapping[str, Any]] = self.content.get("audit", {}).get(task, {})
        return rows

    def metric(self, task: str, group: str, name: str | None = None) -> float | None:
        """Of the condition in which items are asked as they are; the first one where no name is given."""
        conditions = self.results.get(task, {})
        metrics = next(iter(conditions.values()), {}).get(group, {})
        value = metrics.get(name) if name else next(iter(metrics.values()), None)
        return None if value is None else float(value)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Names are as short as they can be told apart by. Raises InputError."""
    parts = [folder.resolve().parts for folder in folders]
    length = 1
    while len({p[-length:] for p in parts}) < len({*parts}):
        length += 1
    return [_read(folder, "/".join(p[-length:])) for folder, p in zip(folders, parts, strict=True)]


def _read(folder: Path, name: str) -> Run:
    try:
        content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        lines = (folder / "replies.jsonl").read_text(encoding="utf-8").splitlines()
        replies = [Reply.read(json.loads(line)) for line in lines if line.strip()]
        _ = content["results"]
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no results: {Path(error.filename).name} is not there") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no results that can be read: {error!r}") from None
    return Run(name, folder, content, {(r.task, r.condition, r.index): r for r in replies})
