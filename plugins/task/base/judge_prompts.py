"""What tasks ask a judge, and how they read its answer: Video-ChatGPT's protocol in words of our own.

The criteria, the fields, the scale from 0 to 5 and the form of the answer are those of the published prompts.
"""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from interleave import JudgeMessages

MOST = 5.0
"""The best score; 0 is the worst."""
BEST: Mapping[str, float] = {"score": MOST}


@dataclass(frozen=True)
class Criterion:
    """What a judge grades an answer by.

    name: of the score.
    rules: what decides it, one sentence or two each.
    """

    name: str
    rules: tuple[str, ...]


MATCH = Criterion(
    "match",
    (
        "Does the predicted answer mean the same as the correct one?",
        "Another word or phrase with the same meaning is a match.",
        "Judge the prediction against the correct answer, not by itself.",
    ),
)
CORRECTNESS = Criterion(
    "factual accuracy",
    (
        "Do the facts of the predicted answer agree with the correct one, without anything misread or made up?",
        "The prediction must be true of what the video shows.",
        "Another word or phrase with the same meaning is a match.",
    ),
)
DETAIL = Criterion(
    "detail orientation",
    (
        "Is the predicted answer complete: does it cover all main points, leaving nothing important out?",
        "Is it specific: does it name particulars of this video instead of what could be said of any?",
        "Another word or phrase with the same meaning is a match.",
        "One score stands for both, completeness and specificity.",
    ),
)
CONTEXT = Criterion(
    "contextual understanding",
    (
        "Does the predicted answer fit the video as a whole, without anything that is out of its context?",
        "It must catch the main themes and moods.",
        "Another word or phrase with the same meaning is a match.",
    ),
)
TEMPORAL = Criterion(
    "temporal understanding",
    (
        "Does the predicted answer put events in the order in which the correct answer, and so the video, has them?",
        "Another word or phrase with the same meaning is a match only as long as the order stays.",
    ),
)
CONSISTENCY = Criterion(
    "consistency",
    (
        "Two questions that ask nearly the same share one correct answer. Do both predictions agree with it?",
        "Do they agree with each other, without contradictions or great differences in what they say?",
        "Another word or phrase with the same meaning is a match as long as what is said stays consistent.",
    ),
)


def judge_messages(criterion: Criterion, fields: Mapping[str, str], verdict: bool = False) -> JudgeMessages:
    """What a judge is asked.

    fields: title -> text of the question, the correct answer and the prediction.
    verdict: ask for yes or no beside the score.
    """
    rules = "\n".join(f"- {rule}" for rule in criterion.rules)
    system = f"You grade answers to questions about videos by their {criterion.name}.\n{rules}"
    given = "\n".join(f"{title}: {value}" for title, value in fields.items())
    scale = f"the {criterion.name} score, a whole number from 0 to 5, where 5 is best"
    keys = f"'pred', which is 'yes' or 'no', and 'score', {scale}" if verdict else f"'score', {scale}"
    example = "{'pred': 'yes', 'score': 4}" if verdict else "{'score': 4}"
    form = f"Answer with nothing but a Python dictionary with {keys}; the number is no string. For example: {example}"
    return [{"role": "system", "content": system}, {"role": "user", "content": f"{given}\n\n{form}"}]


def fields_of_reply(question: str, answer: str, reply: str) -> dict[str, str]:
    """The ``fields`` of ``judge_messages`` for a reply to one question."""
    return {"Question": question, "Correct answer": answer, "Predicted answer": reply}


def read_score(text: str) -> dict[str, float] | None:
    """``{'score': 4}`` -> metrics; None for any other answer of a judge, also for a score out of range."""
    answer = _dictionary(text)
    score = _score(answer.get("score")) if answer.keys() == {"score"} else None
    return None if score is None else {"score": score}


def read_verdict(text: str) -> dict[str, float] | None:
    """``{'pred': 'yes', 'score': 4}`` -> metrics; None for any other answer of a judge."""
    answer = _dictionary(text)
    score = _score(answer.get("score"))
    verdict = answer.get("pred")
    if answer.keys() != {"pred", "score"} or score is None or verdict not in ("yes", "no"):
        return None
    return {"accuracy": float(verdict == "yes"), "score": score}


def _dictionary(text: str) -> dict[object, object]:
    """A dictionary in JSON or Python, by itself or in a code block; empty for anything else."""
    bare = text.strip()
    # judges often answer in a block of code
    fenced = re.fullmatch(r"```(?:json|python)?\s*(.*?)\s*```", bare, re.DOTALL)
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(fenced[1] if fenced else bare)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def _score(value: object) -> float | None:
    """A number from 0 to 5; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        return None
    return float(value) if 0 <= value <= MOST else None
