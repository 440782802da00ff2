"""Our metrics are those of the packages and scripts that published numbers come from."""

import pytest
import rouge as pypi_rouge
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from torchmetrics.functional.text import squad

from interleave.scoring import metrics

GOOGLE = RougeScorer(["rougeL"])
WORD = ["a", "b", "cat", "Dog", "dog.", "1,000", "3.5", "..", "東京", "é", "no;", " "]
WORDS = st.lists(st.sampled_from(WORD), max_size=60)
TEXT = st.one_of(st.text(max_size=80), WORDS.map(" ".join), WORDS.map("".join))
LONG = " ".join(f"w{i % 7}" for i in range(400))


def by_package(reply: str, answer: str) -> float:
    if not reply.strip(".") or not answer.strip("."):  # where the package raises
        return 0.0
    return float(pypi_rouge.Rouge(metrics=["rouge-l"]).get_scores(reply, answer)[0]["rouge-l"]["f"])


@settings(max_examples=400, deadline=None)
@given(TEXT, TEXT)
@example("", "")
@example(" . ", ". .")
@example("a. a b", "b a. c")
def test_rouge_l_is_the_package_rouge(reply: str, answer: str) -> None:
    assert metrics.rouge_l(reply, answer, "rouge") == pytest.approx(by_package(reply, answer), abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT)
def test_rouge_l_is_the_package_rouge_score(reply: str, answer: str) -> None:
    assert metrics.rouge_l(reply, answer) == pytest.approx(GOOGLE.score(answer, reply)["rougeL"].fmeasure, abs=1e-12)


def test_the_two_packages_differ_and_long_texts_do_not_overflow() -> None:
    assert metrics.rouge_l("The cat the cat", "the cat sat", "rouge") != metrics.rouge_l(
        "The cat the cat", "the cat sat"
    )
    assert metrics.rouge_l(f"{LONG} {LONG} {LONG}", LONG, "rouge") > 0.99  # the package recurses too deep


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT)
def test_exact_match_and_f1_are_squads(reply: str, answer: str) -> None:
    truth = {"answers": {"answer_start": [0], "text": [answer]}, "id": "0"}
    theirs = squad({"prediction_text": reply, "id": "0"}, truth)
    assert metrics.exact_match(reply, answer) == float(theirs["exact_match"]) / 100
    if reply.strip() and answer.strip():
        assert metrics.token_f1(reply, answer) == pytest.approx(float(theirs["f1"]) / 100, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  A\tdog,\nred! ", "a dog red"),
        ("(B)", "b"),
        ("'Yes.'", "yes"),
        ("well-known", "well known"),
        ("well- known and-so", "well known andso"),
        ("1,000 is well-known", "1000 is wellknown"),
        ("3.5 is more. than .5 or 5.", "3.5 is more than .5 or 5"),
        ("." * 33 + "a", ".a"),
        ("it's", "it's"),
        ("…¿Qué?", "…¿qué"),
        ("", ""),
    ],
)
def test_published_normalisation(text: str, normal: str) -> None:
    assert metrics.published_normalise(text) == normal


@pytest.mark.parametrize(
    ("reply", "answer", "score"),
    [
        ("A", "a.", 1),
        ("Answer: B", "B", 1),
        ("B: the red one", "B", 1),
        ("a: b: c", "C", 1),
        ("a: b: c", "A", 0),
        ("i: the red one", "I", 0),
        ("The answer is A", "A", 0),
        ("10:30", "10:30", 1),
        ("", "", 1),
    ],
)
def test_published_choice(reply: str, answer: str, score: float) -> None:
    assert metrics.published_choice(reply, answer) == score


def test_published_rouge_l() -> None:
    assert metrics.published_rouge_l("a dog", "A dog!") == pytest.approx(1)
    assert metrics.published_rouge_l("", "a dog") == 0
    assert metrics.published_rouge_l("?!", "a dog") == 0
    assert metrics.published_rouge_l("a dog", " \n") is None
    late = "x " * 256 + "dog"
    assert metrics.published_rouge_l(late, "dog") == 0, "only 512 characters are compared"
    assert metrics.published_rouge_l("." * 50, "dog") == 0
    assert metrics.published_rouge_l("dog", "." * 50) == metrics.published_rouge_l("", "." * 50) == 0


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(b) a dog", "B"),
        ("B. a dog", "B"),
        ("The answer is B.", "B"),
        ("A dog is on the left", ""),
        ("E", ""),
        ("not E. but C.", "C"),
        ("", ""),
        ("a cat", ""),
    ],
)
def test_chosen_letter_of_four(reply: str, letter: str) -> None:
    assert metrics.chosen_letter(reply, 4) == letter


def test_yes_no() -> None:
    said = {"Yes.": "yes", "no, it is not": "no", "The answer is yes": "yes", "yes or no": "yes", "I say yes or no": "",
            "nothing": "", "": ""}  # fmt: skip
    assert {reply: metrics.yes_no(reply) for reply in said} == said


def test_anls() -> None:
    assert metrics.anls(" Hello ", ["hello", "x"]) == 1
    assert metrics.anls("helo", ["hello"]) == pytest.approx(0.8)
    assert metrics.anls("hxxxx", ["hello"]) == 0
    assert metrics.anls("", [""]) == 1
    assert metrics.anls("abcdefghij", ["abcdefghxx"], threshold=0.9) == 0
    assert metrics.anls("x", []) == 0


@pytest.mark.parametrize(
    ("reply", "answer", "score"),
    [("95", "100", 1), ("94.9", "100", 0), ("-105", "-100", 1), ("30%", "0.3", 1), ("30", "30%", 0), ("0", "0", 1),
     ("0.01", "0", 0), ("Red", "red", 1), ("10 m", "10", 0), ("nan", "3", 0)],
)  # fmt: skip
def test_relaxed_accuracy(reply: str, answer: str, score: float) -> None:
    assert metrics.relaxed_accuracy(reply, answer) == score


def test_vqa_accuracy_is_the_agreement_with_the_others() -> None:
    assert metrics.vqa_accuracy("red", ["red"] * 10) == 1
    assert metrics.vqa_accuracy("red", ["red"] * 3 + ["blue"] * 7) == pytest.approx(0.9)
    assert metrics.vqa_accuracy("red", ["red"] + ["blue"] * 9) == pytest.approx(0.3)
    assert metrics.vqa_accuracy("The two dogs!", ["2 dogs"] * 10) == 1
    assert metrics.vqa_accuracy("dont", ["don't"] * 10) == 1
    assert metrics.vqa_accuracy("couldnt've", ["couldn't've"] * 10) == 1
    assert metrics.vqa_accuracy("red", []) == 0
    assert metrics.vqa_accuracy("red", ["Red"]) == 1
