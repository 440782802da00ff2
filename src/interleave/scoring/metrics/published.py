"""The released scorer of LLaVA-Interleave Bench, reply by reply, with its quirks: they decide published numbers."""

import re

from .rouge import rouge_l

MARKS = (";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!")
LETTERS = frozenset("abcdefgh")
LONGEST = 512
"""Characters of a reply that are compared with an open answer."""
MOST_STOPS = int(re.UNICODE)
"""The scorer passes this flag where the number of replacements belongs, so later full stops stay."""


def published_normalise(text: str) -> str:
    """What is compared: lower case, without most punctuation.

    A mark is removed where it touches a space anywhere in the text, or where the text has a comma between digits
    anywhere; else a space takes its place.
    """
    text = without_marks(text.replace("\n", " ").replace("\t", " ").strip())
    return text.strip("'").strip().lower()  # the scorer's other strips find nothing left


def without_marks(text: str) -> str:
    """The official answer processing of VQA, which the scorer took over: marks first, then the full stops."""
    digits = re.search(r"\d,\d", text) is not None
    cleaned = text
    for mark in MARKS:
        joined = digits or f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if joined else " ")
    return re.sub(r"\.(?!\d)", "", cleaned, count=MOST_STOPS)


def published_choice(reply: str, answer: str) -> float:
    """1 where both are the same text. A reply with colons is the last of its parts that is one letter of a to h."""
    said = published_normalise(reply)
    letters = [part.strip() for part in said.split(":") if part.strip() in LETTERS] if ":" in said else []
    return float((letters[-1] if letters else said) == published_normalise(answer))


def published_rouge_l(reply: str, answer: str) -> float | None:
    """F of ROUGE-L by the package ``rouge``; None where the truth is empty, which the scorer leaves out.

    Where nothing but full stops is left of a side, the released scorer stops with an error; here the score is 0.
    """
    said, truth = published_normalise(reply), published_normalise(answer)
    if not truth:
        return None
    return rouge_l(said[:LONGEST], truth, "rouge")
