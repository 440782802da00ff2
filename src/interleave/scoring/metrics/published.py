"""The released scorer of LLaVA-Interleave Bench, reply by reply, with its quirks: they decide published numbers."""

import re

from .rouge import rouge_l

MARKS = (";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!")
OPTION_LETTERS = frozenset("abcdefgh")
MAX_CHARACTERS = 512
"""Characters of a reply that are compared with an open answer."""
MOST_STOPS = int(re.UNICODE)
"""Full stops that are removed: the scorer passes this flag (32) where the number of replacements belongs, so later full
stops stay."""


def published_normalise(text: str) -> str:
    """The form in which the scorer compares texts: lower case, without most punctuation.

    A mark is removed where it touches a space anywhere in the text, or where the text has a comma between digits
    anywhere; else a space takes its place.
    """
    text = without_marks(text.replace("\n", " ").replace("\t", " ").strip())
    return text.strip("'").strip().lower()  # the scorer's other strips find nothing left


def without_marks(text: str) -> str:
    """The official answer processing of VQA, which the scorer took over: marks first, then the full stops."""
    has_grouped_digits = re.search(r"\d,\d", text) is not None  # such as 1,000
    cleaned = text
    for mark in MARKS:
        removed = has_grouped_digits or f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if removed else " ")
    return re.sub(r"\.(?!\d)", "", cleaned, count=MOST_STOPS)  # a full stop before a digit is a decimal point


def published_choice(reply: str, answer: str) -> float:
    """1 where both are the same text, else 0.

    A reply with colons counts as the last of its parts between colons that is one letter of a to h, if there is one.
    """
    chosen = published_normalise(reply)
    if ":" in chosen:
        letters = [part.strip() for part in chosen.split(":") if part.strip() in OPTION_LETTERS]
        chosen = letters[-1] if letters else chosen
    return float(chosen == published_normalise(answer))


def published_rouge_l(reply: str, answer: str) -> float | None:
    """F of ROUGE-L by the package ``rouge``, 0 to 1; None where the truth is empty, which the scorer leaves out.

    Where nothing but full stops is left of a side, the released scorer stops with an error; here the score is 0.
    """
    candidate, reference = published_normalise(reply), published_normalise(answer)
    if not reference:
        return None
    return rouge_l(candidate[:MAX_CHARACTERS], reference, "rouge")
