"""``interleave eval``: tasks asked, kept on disk as replies come, graded, summed up and audited."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..core.collectives import barrier, destroy_process_group, global_rank, init_process_group, world_size
from ..core.errors import InputError
from ..core.options import check
from ..evaluation import model_fingerprint as identity
from ..inference.generate import settle
from ..inference.lm import LM, load
from ..interfaces.judge import Judge, JudgedTask
from ..interfaces.registry import tasks as known_tasks
from ..interfaces.task import Task
from .audit import Audit, audit
from .batch_plan import Outline, outlines, windows
from .build import build_judge, build_tasks
from .judging import grade
from .reply import Reply, short_hash
from .reply_journal import Journal, Kept
from .results import Results, summarise, table
from .runner import Job, Runner, Settings

JUDGEMENTS = "judgements.sqlite"
"""What judges said, in the folder of the results."""


def evaluate(lm: LM, tasks: Mapping[str, Task], out: Path, settings: Settings | None = None) -> Results:
    """Ask a model in memory every item of every task, anew; write what ``Evaluation`` writes into ``out``."""
    evaluation = Evaluation(tasks, out, identity.of_weights(lm), settings or Settings())
    evaluation.ask(lambda: lm, overwrite=True, ranks=(0, 1))
    return evaluation.finish(None, {})


def evaluate_run(config: Mapping[str, Any]) -> Results | None:
    """A model's folder and tasks -> results, on disk and as tables. None on ranks other than 0."""
    tasks, judge = build_tasks(config), build_judge(config)
    if not tasks:
        raise InputError(f"no task is chosen; choose task=[...] of {', '.join(known_tasks)}")
    path, overrides = config["model"], config["overrides"]
    evaluation = Evaluation(tasks, Path(config["out"]), identity.of_folder(path, overrides), settings_of(config))
    init_process_group()
    rank = global_rank()
    try:
        evaluation.ask(lambda: load(path, overrides), check("overwrite", config["overwrite"], bool))
        if rank:
            return None
        about = {"model": str(path), "overrides": list(overrides), "plugins": list(config["plugins"])}
        about["tasks"] = config["task"]
        results = evaluation.finish(judge, about)
    finally:
        destroy_process_group()
    evaluation.show(results)
    return results


def settings_of(config: Mapping[str, Any]) -> Settings:
    options = {
        "batch": config["eval_batch"],
        "tokens": config["eval_tokens"],
        "prompt_tokens": config["prompt_tokens"],
        "num_workers": config["num_workers"],
        "generation": config["generation"] or {},
        "placement": config["placement"],
    }
    chosen: Settings = check("eval", options, Settings)
    return chosen


class Evaluation:
    """Tasks and one model in one folder: ``replies.jsonl``, ``results.json``, and ``TASK.jsonl`` in a released form.

    What was asked there of the same model in the same way is kept. Ranks share out the windows of all tasks.
    """

    def __init__(self, tasks: Mapping[str, Task], out: Path, model: str, settings: Settings) -> None:
        """model: changes with its weights and parts."""
        self.tasks, self.out, self.model, self.settings = tasks, out, model, settings
        self.outlines = {name: outlines(task, settings.placement) for name, task in tasks.items()}
        made = {name: self._made(task, self.outlines[name]) for name, task in tasks.items()}
        self.journal = Journal(out, model, made)
        self.audit: Audit = {}

    def _made(self, task: Task, items: Sequence[Outline]) -> dict[str, Any]:
        """What replies depend on besides the model."""
        return {
            "version": task.version,
            "generation": self.settings.of(task),
            "prompt_tokens": self.settings.prompt_tokens,
            "items": f"{len(items)} ({short_hash(*(item.mark for item in items))})",
        }

    def ask(self, lm: Callable[[], LM], overwrite: bool = False, ranks: tuple[int, int] | None = None) -> None:
        """Ask what is left to ask, this rank's share of it; ``lm`` is called where something is. Raises InputError.

        overwrite: as ``Journal.open`` takes it. ranks: this one and their number; those of torchrun otherwise.
        """
        rank, world = ranks or (global_rank(), world_size())
        if rank == 0:
            self.journal.open(overwrite)
        if world > 1:
            barrier()
        runner = cache(lambda: Runner(lm(), self.settings))
        try:
            for turn in range(1 + max(len(item.before) for items in self.outlines.values() for item in items)):
                mine = self.share(self.journal.kept(), rank, world, turn)
                if world > 1:
                    barrier()  # nobody writes before all have read
                self._run(runner, mine, rank)
                if world > 1:
                    barrier()
        except KeyboardInterrupt:
            kept = f"{self.out} keeps {len(self.journal.kept())} items"
            Console(stderr=True).print(f"stopped; {kept}, and the same command goes on from there", soft_wrap=True)
            raise

    def share(self, kept: Kept, rank: int, world: int, turn: int = 0) -> list[Job]:
        """A rank's part of the windows in which something is left to ask. turn: how many items one goes on from."""
        left = [job for job in self._jobs(kept, turn) if len(job.done) < len(job.items)]
        return left[rank::world]

    def _jobs(self, kept: Kept, turn: int) -> list[Job]:
        """Every window of a turn in the order of asking."""
        jobs = []
        for name, task in self.tasks.items():
            records = list(task.records())
            sizes = {i: (r.prompt_tokens, r.views) for (n, i), (r, _) in kept.items() if n == name and not r.error}
            chosen = [item for item in self.outlines[name] if len(item.before) == turn]
            for item in chosen if turn else ():
                replies = [kept[name, place][0].reply or "" for place in item.before]
                records[item.index] = task.continued(records[item.index], replies)
            for items in windows(chosen, self.settings.batch):
                done = {i: sizes[i] for i in items if i in sizes}
                jobs.append(Job(name, task, records, items, done))
        return jobs

    def _run(self, runner: Callable[[], Runner], left: Sequence[Job], rank: int) -> None:
        if not left:
            return
        cost = {name: {item.index: sum(item.cost) + 1 for item in items} for name, items in self.outlines.items()}
        total = sum(cost[job.name][i] for job in left for i in job.items if i not in job.done)
        with _progress(hidden=rank > 0) as progress:
            bar, count = progress.add_task("", total=total, said=""), 0
            for asked in runner().run(left):
                self.journal.append(rank, asked.replies, asked.seconds)
                count += len(asked.replies)
                last = asked.replies[-1].task
                progress.update(
                    bar,
                    advance=sum(cost[r.task][r.index] for r in asked.replies),
                    description=last,
                    said=f"{count} of {sum(len(job.items) - len(job.done) for job in left)} items",
                )

    def finish(self, judge: Judge | None, about: Mapping[str, Any]) -> Results:
        """One file of all replies, grades, results and audit; by one rank, once all items are asked.

        about: what else the results say of the model.
        """
        before = self._before()
        timed = self.journal.finish()
        graded = self._graded(judge, [reply for reply, _ in timed], before)
        results = summarise(graded, self.tasks)
        seconds = [s for _, s in timed]
        for name, task in self.tasks.items():
            mine = [(r, s) for r, s in zip(graded, seconds, strict=True) if r.task == name]
            made = settle(self.settings.of(task))
            generation = {**made.given, "stop_strings": list(made.stops), "seed": made.seed}
            self.audit[name] = audit(task, generation, mine, before["audit"].get(name, {}))
            _released(self.out / f"{name}.jsonl", task, mine, str(about.get("model", self.model)))
        content = {
            **about,
            "mark": self.model,
            "tasks": {**before["tasks"], **about.get("tasks", {})},
            "versions": {name: version(name) for name in ("interleave", "torch", "transformers")},
            "judge": {**before["judge"], **self._judges(judge)},
            "results": {**before["results"], **results},
            "audit": {**before["audit"], **self.audit},
            "items": len(graded),
            "skipped": [f"{r.task}[{r.index}]: {r.error['message']}" for r in graded if r.error],
        }
        (self.out / "results.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
        return results

    def _before(self) -> dict[str, Any]:
        """What the folder says of the same model."""
        path = self.out / "results.json"
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        same = content.get("mark") == self.model
        found: dict[str, Any] = {
            key: content.get(key, {}) if same else {} for key in ("results", "audit", "judge", "tasks")
        }
        return {**found, "results": {n: r for n, r in found["results"].items() if n not in self.tasks}}

    def _judges(self, judge: Judge | None) -> dict[str, Any]:
        judged = [name for name, task in self.tasks.items() if isinstance(task, JudgedTask)]
        return {name: dict(judge.identity()) for name in judged} if judge and judge.asks else {}

    def _graded(self, judge: Judge | None, replies: Sequence[Reply], before: Mapping[str, Any]) -> list[Reply]:
        """Scores for what a judge grades: for all that has none, and for all where it was another judge."""
        found = {(reply.task, reply.index): reply for reply in replies}
        for name, task in self.tasks.items():
            mine = [reply for reply in replies if reply.task == name and not reply.error]
            if not isinstance(task, JudgedTask) or not judge:
                continue
            other = before["judge"].get(name) not in (None, json.loads(json.dumps(dict(judge.identity()))))
            records = task.records()
            if other or any(reply.scores is None for reply in mine):
                grades = grade(judge, task, [(records[r.index], r.reply or "") for r in mine], self.out / JUDGEMENTS)
                new = [replace(r, scores=g.scores) for r, g in zip(mine, grades, strict=True)] if judge.asks else []
                found |= {(reply.task, reply.index): reply for reply in new}
                self.journal.update(new)
        return list(found.values())

    def show(self, results: Results) -> None:
        """Tables, what is missing, and what to do about it."""
        console = Console()
        for name in self.tasks:
            console.print(table(results, name, self.audit))
        if any(rows["all"]["ungraded"] for rows in self.audit.values()):
            console.print("the same command with judge=openai or judge=local grades what has no grade", soft_wrap=True)
        console.print(f"results: {self.out / 'results.json'}", soft_wrap=True)


def _progress(hidden: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=hidden)


def _released(path: Path, task: Task, replies: Sequence[tuple[Reply, float]], model: str) -> None:
    """The result file of the benchmark's released form, where it has one."""
    records, lines = task.records(), []
    for reply, _ in replies:
        fields = task.released(records[reply.index])
        if fields is not None and reply.reply is not None:
            said = {"prompt": reply.prompt, "pred_response": reply.reply, "model_id": model}
            lines.append(json.dumps({**said, **fields}, ensure_ascii=False) + "\n")
    if lines:
        path.write_text("".join(lines), encoding="utf-8")
