"""``interleave eval``: tasks asked, kept on disk as replies come, graded, summed up and audited."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..core.collectives import barrier, destroy_process_group, global_rank, init_process_group, world_size
from ..core.errors import InputError
from ..core.options import Config, check_option
from ..inference.generation_options import generation_options
from ..inference.lm import LM, load
from ..interfaces.judge import Judge, JudgedTask
from ..interfaces.registry import tasks as known_tasks
from ..interfaces.task import Task
from . import model_fingerprint
from .audit import ALL, Audit, audit, rows_from_json, rows_to_json
from .batch_plan import Outline, outlines, windows
from .build import build_judge, build_settings, build_tasks
from .judging import grade
from .reply import Reply, short_hash
from .reply_journal import Journal, Kept, Manner, TimedReply
from .results import Results, results_table, results_to_json, summarise
from .results_file import RESULTS, AboutModel, EarlierResults, earlier_results, write_released, write_results
from .runner import AskJob, Runner, Settings, Size

JUDGEMENTS = "judgements.sqlite"
"""What judges said, in the folder of the results."""
PACKAGES = ("interleave", "torch", "transformers")
"""Whose versions ``results.json`` has."""


def evaluate(lm: LM, tasks: Mapping[str, Task], out: Path, settings: Settings | None = None) -> Results:
    """Ask a model in memory every item of every task, anew; write what ``Evaluation`` writes into ``out``."""
    evaluation = Evaluation(tasks, out, model_fingerprint.of_weights(lm), settings or Settings())
    evaluation.ask(lambda: lm, overwrite=True, ranks=(0, 1))
    return evaluation.finish(None, {})


def evaluate_run(config: Config) -> Results | None:
    """A composed config -> results, on disk and as tables. None on ranks other than 0. Raises InputError."""
    tasks, judge = build_tasks(config), build_judge(config)
    if not tasks:
        raise InputError(f"no task is chosen; choose task=[...] of {', '.join(known_tasks)}")
    path, overrides = config["model"], config["overrides"]
    evaluation = Evaluation(
        tasks, Path(config["out"]), model_fingerprint.of_folder(path, overrides), build_settings(config)
    )
    init_process_group()
    rank = global_rank()
    try:
        evaluation.ask(lambda: load(path, overrides), check_option("overwrite", config["overwrite"], bool))
        if rank:
            return None
        about: AboutModel = {
            "model": str(path),
            "overrides": list(overrides),
            "plugins": list(config["plugins"]),
            "tasks": config["task"],
        }
        results = evaluation.finish(judge, about)
    finally:
        destroy_process_group()
    evaluation.show(results)
    return results


class Evaluation:
    """Tasks and one model in one folder: ``replies.jsonl``, ``results.json``, and ``TASK.jsonl`` in a released form.

    What was asked there of the same model in the same way is kept. Ranks share out the windows of all tasks.
    """

    def __init__(self, tasks: Mapping[str, Task], out: Path, model: str, settings: Settings) -> None:
        """model: a fingerprint that changes with its weights and parts."""
        self.tasks, self.out, self.model, self.settings = tasks, out, model, settings
        self.outlines: dict[str, list[Outline]] = {}
        manners: dict[str, Manner] = {}
        for name, task in tasks.items():
            self.outlines[name] = outlines(task, settings.placement)
            manners[name] = self._manner(task, self.outlines[name])
        self.journal = Journal(out, model, manners)
        self.audit: Audit = {}

    def _manner(self, task: Task, items: Sequence[Outline]) -> Manner:
        marks = [item.mark for item in items]
        return {
            "version": task.version,
            "generation": self.settings.generation_of(task),
            "prompt_tokens": self.settings.prompt_tokens,
            "items": f"{len(items)} ({short_hash(*marks)})",
        }

    def ask(self, lm: Callable[[], LM], overwrite: bool = False, ranks: tuple[int, int] | None = None) -> None:
        """Ask what is left to ask, this rank's share of it. Raises InputError.

        lm: makes the model; called only where something is left. overwrite: as ``Journal.open`` takes it. ranks: this
        one and their number; None takes those of torchrun.
        """
        rank, world = ranks or (global_rank(), world_size())
        if rank == 0:
            self.journal.open(overwrite)
        if world > 1:
            barrier()  # nobody reads before the folder is ready
        runner = cache(lambda: Runner(lm(), self.settings))  # made at the first call, and once
        try:
            for turn in range(self._num_turns()):
                mine = self.share(self.journal.kept(), rank, world, turn)
                if world > 1:
                    barrier()  # nobody writes before all have read
                self._run(runner, mine, rank)
                if world > 1:
                    barrier()  # the next turn goes on from replies of all ranks
        except KeyboardInterrupt:
            kept = f"{self.out} keeps {len(self.journal.kept())} items"
            Console(stderr=True).print(f"stopped; {kept}, and the same command goes on from there", soft_wrap=True)
            raise

    def _num_turns(self) -> int:
        """How many rounds of asking there are: an item that goes on from two replies is asked in the third."""
        return 1 + max(len(item.before) for items in self.outlines.values() for item in items)

    def share(self, kept: Kept, rank: int, world: int, turn: int = 0) -> list[AskJob]:
        """A rank's part of the windows in which something is left to ask. turn: how many items one goes on from."""
        left = [job for job in self._jobs(kept, turn) if len(job.done) < len(job.items)]
        return left[rank::world]

    def _jobs(self, kept: Kept, turn: int) -> list[AskJob]:
        """Every window of a turn in the order of asking."""
        sizes: dict[str, dict[int, Size]] = {name: {} for name in self.tasks}  # of items that have a reply
        for (name, index), (reply, _) in kept.items():
            if name in sizes and not reply.error:
                sizes[name][index] = (reply.prompt_tokens, reply.views)
        jobs = []
        for name, task in self.tasks.items():
            records = list(task.records())
            chosen = [item for item in self.outlines[name] if len(item.before) == turn]
            if turn:
                for item in chosen:
                    replies = [kept[name, index].reply.reply or "" for index in item.before]
                    records[item.index] = task.continued(records[item.index], replies)
            for items in windows(chosen, self.settings.batch):
                done = {index: sizes[name][index] for index in items if index in sizes[name]}
                jobs.append(AskJob(name, task, records, items, done))
        return jobs

    def _run(self, runner: Callable[[], Runner], left: Sequence[AskJob], rank: int) -> None:
        """Ask jobs, keep their replies, and show how far it is on rank 0."""
        if not left:
            return
        # The bar advances by media and characters, because items differ too much in length to be counted alike.
        cost: dict[tuple[str, int], int] = {}
        for name, items in self.outlines.items():
            for item in items:
                cost[name, item.index] = sum(item.cost) + 1
        total, num_left, num_asked = 0, 0, 0
        for job in left:
            waiting = [index for index in job.items if index not in job.done]
            num_left += len(waiting)
            total += sum(cost[job.name, index] for index in waiting)
        with _progress(hidden=rank > 0) as progress:
            bar = progress.add_task("", total=total, said="")
            for asked in runner().run(left):
                self.journal.append(rank, asked.replies, asked.seconds)
                num_asked += len(asked.replies)
                advance = sum(cost[reply.task, reply.index] for reply in asked.replies)
                task = asked.replies[-1].task
                progress.update(bar, advance=advance, description=task, said=f"{num_asked} of {num_left} items")

    def finish(self, judge: Judge | None, about: AboutModel) -> Results:
        """One file of all replies, grades, results and audit; by one rank, once all items are asked.

        judge: None leaves replies that need one ungraded. about: what else ``results.json`` says of the model.
        """
        earlier = earlier_results(self.out, self.model, self.tasks)
        timed = self.journal.finish()
        graded = self._graded(judge, [reply for reply, _ in timed], earlier)
        results = summarise(graded, self.tasks)
        # grading keeps the order: seconds belong to the reply at the same place
        newest = [TimedReply(reply, old.seconds) for reply, old in zip(graded, timed, strict=True)]
        audits: dict[str, object] = {}
        for name, task in self.tasks.items():
            mine = [timed_reply for timed_reply in newest if timed_reply.reply.task == name]
            options = generation_options(self.settings.generation_of(task))
            generation = {**options.generate_kwargs, "stop_strings": list(options.stop_strings), "seed": options.seed}
            self.audit[name] = audit(task, generation, mine, rows_from_json(earlier.audit.get(name, {})))
            model = about.get("model", self.model)
            write_released(self.out / f"{name}.jsonl", task, [reply for reply, _ in mine], model)
            audits[name] = rows_to_json(self.audit[name])
        content = {
            **about,
            "mark": self.model,  # what is kept of an earlier evaluation must be of the same model
            "tasks": {**earlier.tasks, **about.get("tasks", {})},
            "versions": {name: version(name) for name in PACKAGES},
            "judge": {**earlier.judge, **self._judges(judge)},
            "results": {**earlier.results, **results_to_json(results)},
            "audit": {**earlier.audit, **audits},
            "items": len(graded),
            "skipped": [f"{r.task}[{r.index}]: {r.error['message']}" for r in graded if r.error],
        }
        write_results(self.out, content)
        return results

    def _judges(self, judge: Judge | None) -> dict[str, object]:
        """Task -> who graded it; nothing for a judge that only estimates what it would cost."""
        if not judge or not judge.asks:
            return {}
        judged = [name for name, task in self.tasks.items() if isinstance(task, JudgedTask)]
        return {name: dict(judge.identity()) for name in judged}

    def _graded(self, judge: Judge | None, replies: Sequence[Reply], earlier: EarlierResults) -> list[Reply]:
        """The replies with scores where a judge grades them: where some have none, or another judge gave theirs."""
        newest = {(reply.task, reply.index): reply for reply in replies}
        for name, task in self.tasks.items():
            if not isinstance(task, JudgedTask) or not judge:
                continue
            mine = [reply for reply in replies if reply.task == name and not reply.error]
            identity_now = json.loads(json.dumps(dict(judge.identity())))  # as the file holds it
            other_judge = earlier.judge.get(name) not in (None, identity_now)
            if not other_judge and all(reply.scores is not None for reply in mine):
                continue
            records = task.records()
            asked = [(records[reply.index], reply.reply or "") for reply in mine]
            grades = grade(judge, task, asked, self.out / JUDGEMENTS)
            if judge.asks:
                graded = []
                for reply, given in zip(mine, grades, strict=True):
                    graded.append(replace(reply, scores=given.scores))
                    newest[reply.task, reply.index] = graded[-1]
                self.journal.update(graded)
        return list(newest.values())

    def show(self, results: Results) -> None:
        """Tables, what is missing, and what to do about it."""
        console = Console()
        for name in self.tasks:
            console.print(results_table(results, name, self.audit))
        if any(rows[ALL].ungraded for rows in self.audit.values()):
            console.print("the same command with judge=openai or judge=local grades what has no grade", soft_wrap=True)
        console.print(f"results: {self.out / RESULTS}", soft_wrap=True)


def _progress(hidden: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=hidden)
