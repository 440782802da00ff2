"""Replies that a judge grades: the only place that asks judges, keeps what they said, and says what that costs."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track

from ..core.errors import BadSample, InputError
from ..interfaces.judge import Judge, JudgedTask, JudgeMessages

REMINDER = "\n\nAnswer in exactly the form that is asked for, and write nothing else."
"""Stands at the end of a question that is asked again."""

Asked = Sequence[tuple[Mapping[str, Any], str]]
"""Records of a task, each with the reply that is to be graded."""


class Grade(NamedTuple):
    """What became of one reply.

    scores: None where it has no grade; it then counts as ungraded, never as a zero. text: what the judge said last.
    attempts: how often it was asked, answers of the cache included. error: why there are no scores, in one line:
    ``malformed: ...``, ``refused: ...``, ``alone: ...`` or ``not asked``; empty where there are.
    """

    scores: dict[str, float] | None
    text: str
    attempts: int
    error: str


ALONE = Grade(None, "", 0, "alone: the reply that it is judged beside is missing")


class Estimate(NamedTuple):
    """What grading costs before a malformed answer is asked for again.

    requests: of which ``cached`` more need none. tokens_in: about. tokens_out: at most. cost: None without prices.
    """

    requests: int
    cached: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def says(self) -> str:
        """One line."""
        cost = "no prices given" if self.cost is None else f"at most {self.cost:.4f} at the prices given"
        return (
            f"{self.requests} requests, {self.cached} more answered by the cache; about {self.tokens_in} tokens in and "
            f"at most {self.tokens_out} out; {cost}; malformed answers are asked for again and come on top"
        )


def grade(judge: Judge, task: JudgedTask, asked: Asked, cache: Path, retries: int = 2) -> list[Grade]:
    """Ask a judge about replies -> a grade for each of them, in their order.

    asked: records and replies of ``task``; which of them, and in what order, changes no grade, as long as those that
    are judged together are all there. cache: a file that keeps every answer under what was asked and who was; it is
    made where it is missing, and several tasks, runs and processes may share it. What it holds is not asked again, so
    that a run that was killed goes on where it stood.
    retries: how often an answer that ``task.judgement`` refuses is asked for again; after that the reply has no scores.
    What it will cost, and then what came of it, is printed on stderr.

    Of several ranks one should call it. Raises InputError where the judge cannot be asked; what it said until then is
    in the cache.
    """
    console = Console(stderr=True)
    with Cache(cache) as known:
        questions = _questions(judge, task, asked, known, retries)
        console.print(f"judge: {_estimate(judge, questions.values(), retries).says()}", soft_wrap=True)
        if judge.asks:
            _ask_all(judge, task, list(questions.values()), known, retries)
    pairs = task.together(asked)
    grades = [questions[_key(judge, task.judge(*pair), 0)].grade() if pair else ALONE for pair in pairs]
    console.print(f"judge: {tally(grades)}" + (f"; {used}" if (used := judge.used()) else ""), soft_wrap=True)
    return grades


def estimate(judge: Judge, task: JudgedTask, asked: Asked, cache: Path, retries: int = 2) -> Estimate:
    """What ``grade`` would cost, without asking anyone."""
    with Cache(cache) as known:
        return _estimate(judge, _questions(judge, task, asked, known, retries).values(), retries)


def tally(grades: Sequence[Grade]) -> str:
    """How many replies have a grade, and why the others have none."""
    lost = Counter(grade.error.split(":")[0] for grade in grades if grade.scores is None)
    reasons = f" ({', '.join(f'{n} {reason}' for reason, n in sorted(lost.items()))})" if lost else ""
    return f"{len(grades) - lost.total()} of {len(grades)} replies graded, {lost.total()} ungraded{reasons}"


class Cache:
    """Answers by key in an SQLite file, which several threads and processes may write. The first answer stays."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._lock = path, Lock()
        try:
            self._file = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._file.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, judge TEXT, text TEXT)")
        except sqlite3.Error as error:
            raise InputError(f"{path} is no cache of judgements ({error}); move it away or name another file") from None

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: str) -> str | None:
        with self._lock:
            row = self._file.execute("SELECT text FROM answers WHERE key = ?", [key]).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, judge: str, text: str) -> str:
        """Keep an answer -> the one that is kept: that of another process, where it came first."""
        text = text.encode(errors="replace").decode()  # half a surrogate pair cannot be written
        with self._lock:
            self._file.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", [key, judge, text])
        kept = self.get(key)
        assert kept is not None
        return kept


@dataclass
class _Question:
    """What a judge is asked about all replies that ask the same."""

    messages: JudgeMessages
    attempts: int = 0
    text: str = ""
    scores: dict[str, float] | None = None
    refused: str = ""

    def next(self) -> JudgeMessages:
        """What is asked now."""
        if not self.attempts:
            return self.messages
        *before, last = self.messages
        return [*before, {**last, "content": last["content"] + REMINDER}]

    def answered(self, task: JudgedTask, text: str) -> None:
        self.text, self.scores = text, task.judgement(text)
        self.attempts += 1

    def open(self, retries: int) -> bool:
        return self.scores is None and not self.refused and self.attempts <= retries

    def grade(self) -> Grade:
        error = ""
        if self.scores is None:
            said = " ".join(self.text.split())[:120]
            error = f"malformed: {self.attempts} answers not in the form, the last is {said!r}"
            error = self.refused or (error if self.attempts else "not asked")
        return Grade(self.scores, self.text, self.attempts, error)


def _key(judge: Judge, messages: JudgeMessages, attempt: int) -> str:
    content = json.dumps([dict(judge.identity()), messages, attempt], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _questions(judge: Judge, task: JudgedTask, asked: Asked, known: Cache, retries: int) -> dict[str, _Question]:
    """Every different question once, by key, as far as the cache can answer it."""
    questions: dict[str, _Question] = {}
    for pair in task.together(asked):
        if pair is None:
            continue
        messages = task.judge(*pair)
        questions.setdefault(_key(judge, messages, 0), _Question(messages))
    for question in questions.values():
        while (
            question.open(retries) and (text := known.get(_key(judge, question.next(), question.attempts))) is not None
        ):
            question.answered(task, text)
    return questions


def _estimate(judge: Judge, questions: Iterable[_Question], retries: int) -> Estimate:
    every = list(questions)
    waiting = [question for question in every if question.open(retries)]
    tokens_in = sum(judge.count(turn["content"]) for question in waiting for turn in question.next())
    tokens_out = judge.max_tokens * len(waiting)
    into, out = judge.prices
    cost = None if into is None or out is None else (tokens_in * into + tokens_out * out) / 1e6
    return Estimate(len(waiting), len(every) - len(waiting), tokens_in, tokens_out, cost)


def _ask_all(judge: Judge, task: JudgedTask, questions: Sequence[_Question], known: Cache, retries: int) -> None:
    """One round for each attempt, in an order that follows from the questions alone: alike lengths share a batch."""
    for attempt in range(retries + 1):
        waiting = [q for q in questions if q.open(retries) and q.attempts == attempt]
        waiting.sort(key=lambda q: (sum(len(turn["content"]) for turn in q.messages), json.dumps(q.messages)))
        batches = [waiting[start : start + judge.batch] for start in range(0, len(waiting), judge.batch)]
        _ask_round(judge, task, batches, known)


def _ask_round(judge: Judge, task: JudgedTask, batches: Sequence[Sequence[_Question]], known: Cache) -> None:
    """Threads keep what they were told themselves, so that what was paid for stays when another one fails."""
    if not batches:
        return
    failed: list[InputError] = []

    def work(batch: Sequence[_Question]) -> None:
        if failed:
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
    try:
        texts = judge.ask_batch([question.next() for question in batch], batch[0].attempts)
    except BadSample as bad:
        if len(batch) == 1:
            batch[0].refused = f"refused: {bad}"
            return
        for question in batch:
            _ask_batch(judge, task, [question], known)
        return
    name = str(judge.identity().get("model", type(judge).__name__))
    for question, text in zip(batch, texts, strict=True):
        kept = known.put(_key(judge, question.next(), question.attempts), name, text)
        question.answered(task, kept)
