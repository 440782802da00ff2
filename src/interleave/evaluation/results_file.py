"""``results.json`` and result files in a benchmark's released form: the only place that writes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from ..core.files import JSONObject, replacing
from ..interfaces.task import Task
from .reply import Reply

RESULTS = "results.json"


class AboutModel(TypedDict, total=False):
    """What ``results.json`` says of the model that was asked; what is absent is not written.

    model: folder or name that it was loaded from.
    overrides: changes of its options, ``part.option=value``.
    plugins: files and modules that were loaded.
    tasks: config node of each chosen task.
    """

    model: str
    overrides: list[str]
    plugins: list[str]
    tasks: Mapping[str, JSONObject]


@dataclass(frozen=True)
class EarlierResults:
    """What a folder says already of the same model.

    results: of tasks that are not asked again, in the form of the file.
    audit: task -> group -> row, of all tasks, in the form of the file.
    judge: task -> who graded its replies.
    tasks: task -> its config node.
    """

    results: JSONObject = field(default_factory=dict)
    audit: Mapping[str, Mapping[str, JSONObject]] = field(default_factory=dict)
    judge: Mapping[str, object] = field(default_factory=dict)
    tasks: Mapping[str, JSONObject] = field(default_factory=dict)


def earlier_results(folder: Path, fingerprint: str, chosen: Mapping[str, Task]) -> EarlierResults:
    """Read the folder's ``results.json``; nothing where there is none, or where it is of another model."""
    path = folder / RESULTS
    # ``mark`` is the fingerprint of the model
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if content.get("mark") != fingerprint:
        return EarlierResults()
    staying = {task: node for task, node in content.get("results", {}).items() if task not in chosen}
    return EarlierResults(staying, content.get("audit", {}), content.get("judge", {}), content.get("tasks", {}))


def write_results(folder: Path, content: Mapping[str, object]) -> None:
    """Write ``results.json``."""
    with replacing(folder / RESULTS) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def write_released(path: Path, task: Task, replies: Sequence[Reply], model: str) -> None:
    """The replies in the released form of the task's benchmark, one JSON object a line, where it has such a form."""
    records = task.records()
    lines = []
    for reply in replies:
        own_fields = task.released(records[reply.index])
        # released files have no lines of items without a reply
        if own_fields is not None and reply.reply is not None:
            content = {"prompt": reply.prompt, "pred_response": reply.reply, "model_id": model, **own_fields}
            lines.append(json.dumps(content, ensure_ascii=False) + "\n")
    if lines:
        with replacing(path) as part:
            part.write_text("".join(lines), encoding="utf-8")
