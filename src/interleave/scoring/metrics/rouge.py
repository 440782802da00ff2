"""ROUGE-L as the PyPI packages ``rouge`` and ``rouge-score`` compute it; the tests compare this code with both."""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

EPSILON = 1e-8
"""``rouge`` adds it to a denominator, so that a perfect reply scores a little less than 1."""


def rouge_l(reply: str, answer: str, package: Literal["rouge", "rouge-score"] = "rouge-score") -> float:
    """F of the longest common subsequence (LCS) of words, 0 to 1.

    package: whose definition of it is followed:
        ``rouge``: sentences end at full stops, case and punctuation count, and each word counts once: the union over
        sentences of their common words, over the distinct words of either side.
        ``rouge-score``: Google's, the sequence of lower-case Latin letters and digits, as ROUGE 1.5.5 has it.

    0 where either side has no words; there ``rouge`` itself raises an error.
    """
    return _by_sentence(reply, answer) if package == "rouge" else _by_words(reply, answer)


def _by_words(reply: str, answer: str) -> float:
    candidate, reference = _alphanumeric_words(reply), _alphanumeric_words(answer)
    common = LCSseq.similarity(candidate, reference)
    if not common:
        return 0.0
    return _f_score(common / len(candidate), common / len(reference), 0.0)


def _alphanumeric_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _by_sentence(reply: str, answer: str) -> float:
    candidate, reference = _sentences(reply), _sentences(answer)
    if not candidate or not reference:
        return 0.0
    common: set[str] = set()
    for reference_sentence in reference:
        for candidate_sentence in candidate:
            common.update(_common_subsequence(reference_sentence, candidate_sentence))
    precision = len(common) / len(set().union(*candidate))
    recall = len(common) / len(set().union(*reference))
    return _f_score(precision, recall, EPSILON)


def _sentences(text: str) -> list[list[str]]:
    """The words of each sentence. One of nothing but spaces counts as one empty word, as in the package."""
    return [" ".join(part.split()).split(" ") for part in text.split(".") if part]


def _f_score(precision: float, recall: float, epsilon: float) -> float:
    # F = 2 P R / (P + R)
    return 2.0 * ((precision * recall) / (precision + recall + epsilon))


def _common_subsequence(a: Sequence[str], b: Sequence[str]) -> list[str]:
    """A longest common subsequence, its last word first.

    Of several longest ones it is the one that the package finds, since its words are counted.
    """
    table = _lcs_lengths(a, b)
    i, j = len(a), len(b)
    found: list[str] = []
    while i and j:
        if a[i - 1] == b[j - 1]:
            found.append(a[i - 1])
            i -= 1
            j -= 1
        elif table[i - 1, j] > table[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return found


def _lcs_lengths(a: Sequence[str], b: Sequence[str]) -> NDArray[np.int32]:
    """(len(a) + 1, len(b) + 1): the length of the longest common subsequence of the first i and the first j words."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys([*a, *b]))}
    columns = np.array([numbers[word] for word in b])  # (len(b),)
    table = np.zeros((len(a) + 1, len(b) + 1), np.int32)
    for i, word in enumerate(a, 1):
        # L[i, j] = max(L[i-1, j-1] + [a_i = b_j], L[i-1, j], L[i, j-1]); the last one as a running maximum of the row
        grown = table[i - 1, :-1] + (columns == numbers[word])
        table[i, 1:] = np.maximum.accumulate(np.maximum(grown, table[i - 1, 1:]))
    return table
