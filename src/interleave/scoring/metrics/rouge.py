"""ROUGE-L as the two PyPI packages of nearly the same name compute it; the tests compare ours with both."""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

SMALL = 1e-8
"""``rouge`` adds it to a denominator, so that a perfect reply scores a little less than 1."""


def rouge_l(reply: str, answer: str, package: Literal["rouge", "rouge-score"] = "rouge-score") -> float:
    """F of the longest common subsequence of words.

    ``rouge``: sentences end at full stops, case and punctuation count, and each word counts once: the union over
    sentences of what they have in common, over the distinct words of either side. ``rouge-score``: Google's, the plain
    sequence of lower-case Latin letters and digits, as ROUGE 1.5.5 has it. 0 where either side has no words; there
    ``rouge`` itself raises an error.
    """
    return _by_sentence(reply, answer) if package == "rouge" else _by_words(reply, answer)


def _by_words(reply: str, answer: str) -> float:
    said, truth = (re.findall(r"[a-z0-9]+", text.lower()) for text in (reply, answer))
    common = LCSseq.similarity(said, truth)
    return _f(common / len(said), common / len(truth), 0.0) if common else 0.0


def _by_sentence(reply: str, answer: str) -> float:
    said, truth = _sentences(reply), _sentences(answer)
    if not said or not truth:
        return 0.0
    common = {word for one in truth for other in said for word in _common(one, other)}
    precision, recall = (len(common) / len({w for words in side for w in words}) for side in (said, truth))
    return _f(precision, recall, SMALL)


def _sentences(text: str) -> list[list[str]]:
    """A sentence of nothing but spaces counts as one empty word, as in the package."""
    return [" ".join(part.split()).split(" ") for part in text.split(".") if part]


def _f(precision: float, recall: float, small: float) -> float:
    return 2.0 * ((precision * recall) / (precision + recall + small))


def _common(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """A longest common subsequence; of several, the one that the package finds, since its words are counted."""
    table = _lengths(one, other)
    i, j, found = len(one), len(other), []
    while i and j:
        if one[i - 1] == other[j - 1]:
            found.append(one[i - 1])
            i, j = i - 1, j - 1
        elif table[i - 1, j] > table[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return found


def _lengths(one: Sequence[str], other: Sequence[str]) -> NDArray[np.int32]:
    """(n + 1, m + 1): the length of the longest common subsequence of the first i and the first j words."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys([*one, *other]))}
    columns = np.array([numbers[word] for word in other])
    table = np.zeros((len(one) + 1, len(other) + 1), np.int32)
    for i, word in enumerate(one, 1):
        grown = table[i - 1, :-1] + (columns == numbers[word])
        table[i, 1:] = np.maximum.accumulate(np.maximum(grown, table[i - 1, 1:]))
    return table
