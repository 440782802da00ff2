"""What tasks ask a judge, and how they read what it says: the wording of Video-ChatGPT's protocol in our own words.

The criteria, the fields, the scale from 0 to 5 and the form of the answer are those of the published prompts.
"""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from interleave import JudgeMessages

MOST = 5.0
BEST: Mapping[str, float] = {"score": MOST}


@dataclass(frozen=True)
class Criterion:
    """One thing that a judge looks at. name: of the score. looks: what decides it."""

    name: str
    looks: tuple[str, ...]


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


def ask(criterion: Criterion, fields: Mapping[str, str], verdict: bool = False) -> JudgeMessages:
    """What a judge is asked. fields: question, answers and predictions by their titles. verdict: also yes or no."""
    looks = "\n".join(f"- {look}" for look in criterion.looks)
    system = f"You grade answers to questions about videos by their {criterion.name}.\n{looks}"
    given = "\n".join(f"{title}: {value}" for title, value in fields.items())
    scale = f"the {criterion.name} score, a whole number from 0 to 5, where 5 is best"
    keys = f"'pred', which is 'yes' or 'no', and 'score', {scale}" if verdict else f"'score', {scale}"
    example = "{'pred': 'yes', 'score': 4}" if verdict else "{'score': 4}"
    form = f"Answer with nothing but a Python dictionary with {keys}; the number is no string. For example: {example}"
    return [{"role": "system", "content": system}, {"role": "user", "content": f"{given}\n\n{form}"}]


def compared(question: str, answer: str, reply: str) -> dict[str, str]:
    """The fields of a reply to one question."""
    return {"Question": question, "Correct answer": answer, "Predicted answer": reply}


def read_score(said: str) -> dict[str, float] | None:
    """``{'score': 4}`` -> metrics; None for anything else, also for a score out of range."""
    answer = _dictionary(said)
    score = _score(answer.get("score")) if answer.keys() == {"score"} else None
    return None if score is None else {"score": score}


def read_verdict(said: str) -> dict[str, float] | None:
    """``{'pred': 'yes', 'score': 4}`` -> metrics; None for anything else."""
    answer = _dictionary(said)
    score, verdict = _score(answer.get("score")), answer.get("pred")
    if answer.keys() != {"pred", "score"} or score is None or verdict not in ("yes", "no"):
        return None
    return {"accuracy": float(verdict == "yes"), "score": score}


def _dictionary(said: str) -> dict[Any, Any]:
    """A dictionary in JSON or Python, by itself or in a code block; empty for anything else."""
    bare = said.strip()
    fenced = re.fullmatch(r"```(?:json|python)?\s*(.*?)\s*```", bare, re.DOTALL)
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(fenced[1] if fenced else bare)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def _score(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    return float(value) if number and 0 <= value <= MOST else None
