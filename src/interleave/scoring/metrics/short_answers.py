"""Short answers: equal, nearly equal, or the option that a reply names."""

import re
from collections.abc import Sequence
from string import ascii_uppercase, punctuation

from rapidfuzz.distance import Levenshtein

from .published import without_marks

NUMBERS = {"none": "0"} | {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
ARTICLES = frozenset(("a", "an", "the"))
SHORT_FORMS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're
there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've
when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't
wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
"""What the official VQA evaluation writes with all apostrophes where an answer lacks one."""
WHOLE = {
    word[:at] + word[at + 1 :]: word for word in SHORT_FORMS.split() for at, letter in enumerate(word) if letter == "'"
}


def exact_match(reply: str, answer: str) -> float:
    """1 where both are the same words, but for case, articles and punctuation, as SQuAD compares."""
    return float(_words(reply) == _words(answer))


def token_f1(reply: str, answer: str) -> float:
    """F1 of the words that both have, each as often as both have it, as SQuAD counts."""
    said, truth = _words(reply), _words(answer)
    if not said or not truth:
        return float(said == truth)
    common = sum(min(said.count(word), truth.count(word)) for word in set(said))
    return 2 * common / (len(said) + len(truth))


def _words(text: str) -> list[str]:
    plain = "".join(c for c in text.lower() if c not in punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def chosen_letter(reply: str, count: int = 26) -> str:
    """``B``, ``(b)``, ``B. a dog`` and ``The answer is B.`` all chose B; empty where none of ``count`` letters was."""
    text, letters = reply.strip(), ascii_uppercase[:count]
    first = re.match(r"\(?([A-Za-z])(?:[).:,\s]|$)", text)
    alone = first and (len(text) < 3 or text[0] == "(" or not text[first.end() - 1].isspace())
    if first and alone and first[1].upper() in letters:
        return first[1].upper()
    named = [letter for letter in re.findall(r"\b([A-Z])\b(?=[).:,]|\s*$)", text) if letter in letters]
    return str(named[-1]) if named else ""


def clean_choice(reply: str, answer: str) -> float:
    """1 where the reply chose the truth, however it says so: a letter of a to h, yes or no, else the same words."""
    if len(letter := answer.strip(" ().").upper()) == 1 and letter in "ABCDEFGH":
        return float(chosen_letter(reply, 8) == letter)
    if (truth := yes_no(answer)) and exact_match(answer, truth):
        return float(yes_no(reply) == truth)
    return exact_match(reply, answer)


def yes_no(reply: str) -> str:
    """``yes`` or ``no``: the first word, or the only one of the two that occurs; empty where neither can be told."""
    words = re.findall(r"[a-z]+", reply.lower())
    said = {word for word in words if word in ("yes", "no")}
    return words[0] if said and words[0] in said else said.pop() if len(said) == 1 else ""


def anls(reply: str, answers: Sequence[str], threshold: float = 0.5) -> float:
    """The greatest Levenshtein similarity to an answer, without case and outer spaces; 0 where below the threshold."""
    said = reply.strip().lower()
    nearest = max((Levenshtein.normalized_similarity(said, a.strip().lower()) for a in answers), default=0.0)
    return nearest if nearest >= threshold else 0.0


def relaxed_accuracy(reply: str, answer: str, tolerance: float = 0.05) -> float:
    """1 where a number is within the tolerance, relative to the truth; other answers must be equal but for case."""
    said, truth = _number(reply), _number(answer)
    if said is not None and truth:  # nothing is relative to zero
        return float(abs(said - truth) / abs(truth) <= tolerance)
    return float(reply.strip().lower() == answer.strip().lower())


def _number(text: str) -> float | None:
    """``12``, ``1.5`` and ``30%``, which is 0.3."""
    text = text.strip()
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def vqa_accuracy(reply: str, answers: Sequence[str]) -> float:
    """Agreement with people, as VQA v2 and TextVQA measure it.

    For each answer left out, a third for each of the others that says the same, at most 1; the mean of that. Both sides
    go through the official processing: marks, number words, articles, short forms. 0 without answers.
    """
    said, truths = _processed(reply), [_processed(answer) for answer in answers]
    if len(truths) < 2:
        return float(said in truths)
    agree = truths.count(said)
    return sum(min(1.0, (agree - (truth == said)) / 3) for truth in truths) / len(truths)


def _processed(text: str) -> str:
    words = without_marks(text.replace("\n", " ").replace("\t", " ").strip()).lower().split()
    numbered = (NUMBERS.get(word, word) for word in words)
    return " ".join(WHOLE.get(word, word) for word in numbered if word not in ARTICLES)
