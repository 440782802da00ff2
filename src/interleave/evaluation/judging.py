"""Replies that a judge grades: the only place that asks judges, and says what that costs."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from ..core.errors import BadSample, InputError
from ..interfaces.judge import Judge, JudgedTask, JudgeMessages
from .judgement_cache import Cache
from .reply import ItemRecord

REMINDER = "\n\nAnswer in exactly the form that is asked for, and write nothing else."
"""Stands at the end of a question that is asked again."""

RepliesToGrade = Sequence[tuple[ItemRecord, str]]
"""Records of a task, each with the reply that is to be graded."""


class Grade(NamedTuple):
    """What became of one reply.

    scores: metrics; None where it has no grade, and then it counts as ungraded, never as a zero.
    text: what the judge said last.
    attempts: how often it was asked, answers of the cache included.
    error: why there are no scores, in one line: ``malformed: ...``, ``refused: ...``, ``alone: ...`` or ``not asked``;
        empty where there are scores.
    """

    scores: dict[str, float] | None
    text: str
    attempts: int
    error: str


ALONE = Grade(None, "", 0, "alone: the reply that it is judged beside is missing")


class Estimate(NamedTuple):
    """What grading costs before any malformed answer is asked for again.

    requests: questions that the judge must be asked.
    cached: further questions that the cache answers.
    tokens_in: tokens of the requests, about.
    tokens_out: tokens of the answers, at most.
    cost: in the unit of the judge's prices, at most; None where it has none.
    """

    requests: int
    cached: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def says(self) -> str:
        """The estimate as one line."""
        cost = "no prices given" if self.cost is None else f"at most {self.cost:.4f} at the prices given"
        return (
            f"{self.requests} requests, {self.cached} more answered by the cache; about {self.tokens_in} tokens in and "
            f"at most {self.tokens_out} out; {cost}; malformed answers are asked for again and come on top"
        )


def grade(judge: Judge, task: JudgedTask, asked: RepliesToGrade, cache: Path, retries: int = 2) -> list[Grade]:
    """Ask a judge about replies -> a grade for each of them, in their order.

    asked: records and replies of ``task``; which of them, and in what order, changes no grade, as long as those that
        are judged together are all there.
    cache: a file that keeps every answer under what was asked and who was; made where it is missing, and several tasks,
        runs and processes may share it. What it holds is not asked again, so that a run that was killed goes on.
    retries: how often an answer that ``task.judgement`` refuses is asked for again; after that the reply has no scores.

    What it will cost, and then what came of it, is printed on stderr. Of several ranks one should call it. Raises
    InputError where the judge cannot be asked; what it said until then is in the cache.
    """
    console = Console(stderr=True)
    with Cache(cache) as known:
        questions = _questions(judge, task, asked, known, retries)
        console.print(f"judge: {_estimate(judge, questions.values(), retries).says()}", soft_wrap=True)
        if judge.asks:
            _ask_all(judge, task, list(questions.values()), known, retries)
    grades = []  # several replies may share a question
    for pair in task.together(asked):
        grades.append(questions[_key(judge, task.judge(*pair), 0)].grade() if pair else ALONE)
    used = judge.used()
    console.print(f"judge: {tally(grades)}" + (f"; {used}" if used else ""), soft_wrap=True)
    return grades


def estimate(judge: Judge, task: JudgedTask, asked: RepliesToGrade, cache: Path, retries: int = 2) -> Estimate:
    """What ``grade`` would cost, without asking anyone."""
    with Cache(cache) as known:
        return _estimate(judge, _questions(judge, task, asked, known, retries).values(), retries)


def tally(grades: Sequence[Grade]) -> str:
    """How many replies have a grade, and why the others have none, in one line."""
    lost = Counter(grade.error.split(":")[0] for grade in grades if grade.scores is None)
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items()))
    reasons = f" ({listed})" if lost else ""
    return f"{len(grades) - lost.total()} of {len(grades)} replies graded, {lost.total()} ungraded{reasons}"


@dataclass
class _Question:
    """What a judge is asked about all replies that ask the same.

    messages: as the task asks it. attempts: answers so far. text: the last answer. scores: what the task reads in it.
    refused: why the judge cannot answer; empty where it can.
    """

    messages: JudgeMessages
    attempts: int = 0
    text: str = ""
    scores: dict[str, float] | None = None
    refused: str = ""

    def next_messages(self) -> JudgeMessages:
        """What is asked now: from the second attempt on with a reminder at the end."""
        if not self.attempts:
            return self.messages
        *before, last = self.messages
        return [*before, {**last, "content": last["content"] + REMINDER}]

    def take(self, task: JudgedTask, text: str) -> None:
        """Take an answer."""
        self.text, self.scores = text, task.judgement(text)
        self.attempts += 1

    def is_open(self, retries: int) -> bool:
        """Whether the judge is to be asked (again)."""
        return self.scores is None and not self.refused and self.attempts <= retries

    def grade(self) -> Grade:
        return Grade(self.scores, self.text, self.attempts, self._error())

    def _error(self) -> str:
        if self.scores is not None:
            return ""
        if self.refused:
            return self.refused
        if not self.attempts:
            return "not asked"
        start = " ".join(self.text.split())[:120]
        return f"malformed: {self.attempts} answers not in the form, the last is {start!r}"


def _key(judge: Judge, messages: JudgeMessages, attempt: int) -> str:
    """Under which the cache keeps the answer: a hash of who is asked, what, and for the how-manieth time."""
    content = json.dumps([dict(judge.identity()), messages, attempt], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _questions(
    judge: Judge, task: JudgedTask, asked: RepliesToGrade, known: Cache, retries: int
) -> dict[str, _Question]:
    """Every different question once, by key, as far as the cache can answer it."""
    questions: dict[str, _Question] = {}
    for pair in task.together(asked):
        if pair is None:
            continue
        messages = task.judge(*pair)
        questions.setdefault(_key(judge, messages, 0), _Question(messages))
    for question in questions.values():
        while question.is_open(retries):  # each malformed answer in the cache counts as an attempt
            text = known.get(_key(judge, question.next_messages(), question.attempts))
            if text is None:
                break
            question.take(task, text)
    return questions


def _estimate(judge: Judge, questions: Iterable[_Question], retries: int) -> Estimate:
    every = list(questions)
    waiting = [question for question in every if question.is_open(retries)]
    tokens_in = 0
    for question in waiting:
        tokens_in += sum(judge.count(message["content"]) for message in question.next_messages())
    tokens_out = judge.max_tokens * len(waiting)  # no answer is longer
    price_in, price_out = judge.prices  # of a million tokens
    cost = None
    if price_in is not None and price_out is not None:
        cost = (tokens_in * price_in + tokens_out * price_out) / 1e6
    return Estimate(len(waiting), len(every) - len(waiting), tokens_in, tokens_out, cost)


def _ask_all(judge: Judge, task: JudgedTask, questions: Sequence[_Question], known: Cache, retries: int) -> None:
    """One round for each attempt. Alike lengths share a batch, in an order that follows from the questions alone."""

    def shortest_first(question: _Question) -> tuple[int, str]:
        return sum(len(message["content"]) for message in question.messages), json.dumps(question.messages)

    for attempt in range(retries + 1):
        waiting = [q for q in questions if q.is_open(retries) and q.attempts == attempt]
        waiting.sort(key=shortest_first)
        batches = [waiting[start : start + judge.batch] for start in range(0, len(waiting), judge.batch)]
        _ask_round(judge, task, batches, known)


def _ask_round(judge: Judge, task: JudgedTask, batches: Sequence[Sequence[_Question]], known: Cache) -> None:
    """Ask batches in threads. Each thread keeps its answers itself, so that what was paid for stays when another one
    fails. Raises InputError where the judge cannot be asked."""
    if not batches:
        return
    failed: list[InputError] = []

    def work(batch: Sequence[_Question]) -> None:
        if failed:  # the judge cannot be asked: the batches that wait would fail, too
            return
        try:
            _ask_batch(judge, task, batch, known)
        except InputError as error:
            failed.append(error)
            judge.close()

    with ThreadPoolExecutor(judge.num_workers) as pool:
        jobs: list[Future[None]] = [pool.submit(work, batch) for batch in batches]
        try:
            for job in track(as_completed(jobs), "judge", len(jobs), console=Console(stderr=True)):
                job.result()
        except BaseException:  # also Ctrl-C: nothing more is asked
            judge.close()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if failed:
        raise failed[0]


def _ask_batch(judge: Judge, task: JudgedTask, batch: Sequence[_Question], known: Cache) -> None:
    """Ask all at once; where the judge refuses one of them, one by one, so that only that one is refused."""
    try:
        texts = judge.ask_batch([question.next_messages() for question in batch], batch[0].attempts)
    except BadSample as bad:
        if len(batch) == 1:
            batch[0].refused = f"refused: {bad}"
            return
        for question in batch:
            _ask_batch(judge, task, [question], known)
        return
    name = str(judge.identity().get("model", type(judge).__name__))
    for question, text in zip(batch, texts, strict=True):
        kept = known.put(_key(judge, question.next_messages(), question.attempts), name, text)
        question.take(task, kept)
