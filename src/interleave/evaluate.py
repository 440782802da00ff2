"""Questions to a model: replies, scores, and what was fed. The only place that runs tasks."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from .build import build_tasks
from .interfaces import Task
from .lm import LM, load
from .registry import tasks as known_tasks
from .sample import Sample
from .types import BadSample, InputError

Results = dict[str, dict[str, dict[str, dict[str, float]]]]
"""task -> condition -> group -> metrics, with ``n`` and, where it is known, ``chance``."""


@dataclass(frozen=True)
class Reply:
    """One item of a task, asked and scored. ``index`` is its place in the task's records."""

    task: str
    index: int
    id: str
    condition: str
    group: str
    reply: str
    answer: str
    scores: dict[str, float]
    chance: float | None


def evaluate(lm: LM, tasks: Mapping[str, Task], out: Path, batch: int = 64) -> Results:
    """Ask every item of every task; write ``replies.jsonl`` and ``results.json`` into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    replies: list[Reply] = []
    skipped: list[str] = []
    for name, task in tasks.items():
        answered, lost = ask(lm, name, task, batch)
        replies += answered
        skipped += lost
    with (out / "replies.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in replies)
    results = summarise(replies)
    content = {"results": results, "items": len(replies) + len(skipped), "skipped": skipped}
    (out / "results.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    return results


def evaluate_run(config: Mapping[str, Any]) -> Results:
    """``interleave eval``: a run's folder and tasks -> its results, on disk and as tables."""
    tasks, lm = build_tasks(config), load(config["model"], config["overrides"])
    if not tasks:
        raise InputError(f"no task is chosen; choose task=[...] of {', '.join(known_tasks)}")
    out = Path(config["out"])
    results = evaluate(lm, tasks, out, config["eval_batch"])
    for task in results:
        Console().print(table(results, task))
    Console().print(f"results: {out / 'results.json'}", soft_wrap=True)
    return results


def ask(lm: LM, name: str, task: Task, batch: int) -> tuple[list[Reply], list[str]]:
    """Replies in the order of the records, and what could not be asked."""
    records = task.records()
    asked: list[tuple[int, Sample]] = []
    skipped: list[str] = []
    for index, record in enumerate(records):
        try:
            asked.append((index, task.sample(record)))
        except BadSample as bad:
            skipped.append(f"{name}[{index}]: {bad}")
    asked.sort(key=lambda item: _size(item[1]))  # alike lengths share a batch
    replies = []
    for start in track(range(0, len(asked), batch), f"{name}: {len(asked)} items", console=Console(stderr=True)):
        chosen = asked[start : start + batch]
        texts = _reply(lm, chosen, task, name, skipped)
        replies += [_score(name, task, records[i], i, text) for i, text in texts]
    return sorted(replies, key=lambda r: r.index), skipped


def _reply(
    lm: LM, chosen: Sequence[tuple[int, Sample]], task: Task, name: str, skipped: list[str]
) -> list[tuple[int, str]]:
    """A batch at once; where a sample of it cannot be read, one by one, so that only that one is lost."""
    try:
        return list(zip((i for i, _ in chosen), lm.reply([s for _, s in chosen], **task.generation), strict=True))
    except BadSample as bad:
        if len(chosen) == 1:
            skipped.append(f"{name}[{chosen[0][0]}]: {bad}")
            return []
        return [text for item in chosen for text in _reply(lm, [item], task, name, skipped)]


def _size(sample: Sample) -> tuple[int, int]:
    parts = [part for turn in sample.turns for part in turn.content]
    text = sum(len(part) for part in parts if isinstance(part, str))
    return len(parts), text


def _score(name: str, task: Task, record: Mapping[str, Any], index: int, text: str) -> Reply:
    return Reply(
        name,
        index,
        str(record.get("id", index)),
        task.condition(record),
        task.group(record),
        text,
        task.answer(record),
        task.score(record, text),
        task.chance(record),
    )


def summarise(replies: Sequence[Reply]) -> Results:
    """Means over the items of each group; a group ``a/b`` counts for ``a``, too."""
    groups: dict[tuple[str, str, str], list[Reply]] = defaultdict(list)
    for reply in replies:
        whole, _, part = reply.group.partition("/")
        for group in {whole, reply.group} if part else {whole}:
            groups[reply.task, reply.condition, group].append(reply)
    results: Results = {}
    for (task, condition, group), members in sorted(groups.items()):
        row = {metric: mean(m.scores[metric] for m in members) for metric in members[0].scores}
        chances = [m.chance for m in members if m.chance is not None]
        row |= {"chance": mean(chances)} if chances else {}
        results.setdefault(task, {}).setdefault(condition, {})[group] = {**row, "n": len(members)}
    return results


def table(results: Results, task: str) -> Table:
    """One row a group: its first metric under every condition, chance and number of items."""
    conditions = list(results[task])
    drawn = Table(title=f"task {task}")
    drawn.add_column("group")
    for condition in conditions:
        drawn.add_column(condition, justify="right")
    drawn.add_column("chance", justify="right")
    drawn.add_column("n", justify="right")
    for group in results[task][conditions[0]]:
        rows = [results[task][c].get(group) for c in conditions]
        first = rows[0] or {}
        shown = [f"{next(iter(r.values())):.3f}" if r else "" for r in rows]
        chance = f"{first['chance']:.3f}" if "chance" in first else ""
        drawn.add_row(("  " if "/" in group else "") + group, *shown, chance, str(first.get("n", "")))
    return drawn
