"""Short answers: equal, nearly equal, or the option that a reply names."""

import re
from collections.abc import Mapping, Sequence
from string import punctuation

from rapidfuzz.distance import Levenshtein

from .chosen_letters import chosen_letter
from .published import without_marks

NUMBER_WORDS: Mapping[str, str] = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
"""Words that the official VQA evaluation writes as digits."""
ARTICLES = frozenset(("a", "an", "the"))
CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're
there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've
when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't
wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
"""Words to which the official VQA evaluation restores an apostrophe that an answer lacks."""


def _lacking_one_apostrophe() -> dict[str, str]:
    """Each contraction without one of its apostrophes -> the contraction."""
    whole: dict[str, str] = {}
    for word in CONTRACTIONS.split():
        for position, letter in enumerate(word):
            if letter == "'":
                whole[word[:position] + word[position + 1 :]] = word
    return whole


WHOLE_CONTRACTION: Mapping[str, str] = _lacking_one_apostrophe()


def exact_match(reply: str, answer: str) -> float:
    """1 where both are the same words, but for case, articles and punctuation, as SQuAD compares; else 0."""
    return float(_squad_words(reply) == _squad_words(answer))


def token_f1(reply: str, answer: str) -> float:
    """F1 of the words that both have, each as often as both have it, as SQuAD counts; 0 to 1.

    Where a side has no words it is 1 if neither has, else 0.
    """
    candidate, reference = _squad_words(reply), _squad_words(answer)
    if not candidate or not reference:
        return float(candidate == reference)
    common = sum(min(candidate.count(word), reference.count(word)) for word in set(candidate))
    return 2 * common / (len(candidate) + len(reference))  # = 2 P R / (P + R)


def _squad_words(text: str) -> list[str]:
    """Lower-case words without punctuation and articles."""
    plain = "".join(character for character in text.lower() if character not in punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def clean_choice(reply: str, answer: str) -> float:
    """1 where the reply chose the truth, however it says so, else 0.

    The truth may be a letter of a to h, or yes or no; any other is compared word by word.
    """
    letter = answer.strip(" ().").upper()
    if len(letter) == 1 and letter in "ABCDEFGH":
        return float(chosen_letter(reply, 8) == letter)
    polarity = yes_no(answer)
    if polarity and exact_match(answer, polarity):  # nothing but yes or no
        return float(yes_no(reply) == polarity)
    return exact_match(reply, answer)


def yes_no(reply: str) -> str:
    """``yes`` or ``no``: the first word, or the only one of the two that occurs; empty where neither can be told."""
    words = re.findall(r"[a-z]+", reply.lower())
    named = {word for word in words if word in ("yes", "no")}
    if named and words[0] in named:
        return str(words[0])
    return named.pop() if len(named) == 1 else ""


def anls(reply: str, answers: Sequence[str], threshold: float = 0.5) -> float:
    """The greatest normalised Levenshtein similarity to one of the answers, 0 to 1, without case and outer spaces.

    0 where it is below the threshold, and without answers. The metric of DocVQA, for one item.
    """
    candidate = reply.strip().lower()
    similarities = [Levenshtein.normalized_similarity(candidate, answer.strip().lower()) for answer in answers]
    nearest = max(similarities, default=0.0)
    return nearest if nearest >= threshold else 0.0


def relaxed_accuracy(reply: str, answer: str, tolerance: float = 0.05) -> float:
    """1 where a number is within the tolerance, relative to the truth; other answers must be equal but for case.

    The metric of ChartQA, for one item.
    """
    value, truth = _number(reply), _number(answer)
    if value is not None and truth:  # nothing is relative to zero
        return float(abs(value - truth) / abs(truth) <= tolerance)
    return float(reply.strip().lower() == answer.strip().lower())


def _number(text: str) -> float | None:
    """The value of ``12``, ``1.5`` or ``30%``, which is 0.3; None for other texts."""
    text = text.strip()
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def vqa_accuracy(reply: str, answers: Sequence[str]) -> float:
    """Agreement with people, 0 to 1, as VQA v2 and TextVQA measure it.

    For each answer left out, a third for each of the others that says the same, at most 1; the mean of that. Both sides
    go through the official processing: marks, number words, articles, contractions. 0 without answers.
    """
    candidate = _vqa_processed(reply)
    truths = [_vqa_processed(answer) for answer in answers]
    if len(truths) < 2:
        return float(candidate in truths)
    agree = truths.count(candidate)
    # mean over answers of min(1, (others that agree) / 3)
    return sum(min(1.0, (agree - (truth == candidate)) / 3) for truth in truths) / len(truths)


def _vqa_processed(text: str) -> str:
    """The official processing of an answer of VQA."""
    words = without_marks(text.replace("\n", " ").replace("\t", " ").strip()).lower().split()
    kept: list[str] = []
    for word in words:
        number = NUMBER_WORDS.get(word, word)
        if number not in ARTICLES:
            kept.append(WHOLE_CONTRACTION.get(number, number))
    return " ".join(kept)
