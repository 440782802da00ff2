"""Letters of replies as chat models write them."""

import pytest

from interleave.scoring.metrics import chosen_letter

REPLIES = [
    ("B", "B"), ("b", "B"), ("B.", "B"), ("(B)", "B"), ("(b)", "B"), ("b)", "B"), ("B)", "B"), ("[B]", "B"),
    ("{B}", "B"), ('"B"', "B"), ("'B'", "B"), ("B!", "B"), ("B。", "B"), ("Ｂ", "B"), ("B：一只狗", "B"),
    ("「B」", "B"), ("  B \n", "B"), ("**B**", "B"), ("**B.** a dog", "B"), ("__B__", "B"), ("`B`", "B"),
    ("$B$", "B"), ("# B", "B"), ("\\boxed{B}", "B"), ("$\\boxed{\\text{B}}$", "B"),
    ("So the answer is \\boxed{b}.", "B"), ("<answer>B</answer>", "B"), ("<think>Is it A? No.</think>B", "B"),
    ("<think>Surely A.</think>\n\nAnswer: C", "C"), ("B. a dog", "B"), ("B: a dog", "B"), ("B, a dog", "B"),
    ("B - a dog", "B"), ("B – a dog", "B"), ("B) a dog", "B"), ("B\nBecause it is red", "B"),
    ("B because it is red", "B"), ("B since A is blue", "B"), ("B, because option A is blue", "B"),
    ("B: option A shows a cat", "B"), ("A", "A"), ("A.", "A"), ("A because it is red", "A"), ("A: a dog", "A"),
    ("The answer is B", "B"), ("The answer is B.", "B"), ("The answer is: B", "B"),
    ("The answer is B because it is red", "B"), ("The answer is (b).", "B"), ("The answer is **B**.", "B"),
    ("the correct answer is option B", "B"), ("The correct option is B.", "B"), ("Answer: B", "B"),
    ("Final answer: **D**", "D"), ("Final Answer: (C) a cat", "C"), ("answer=B", "B"),
    ("My answer would be C, as it is red.", "C"), ("Option B is right", "B"), ("Option B.", "B"),
    ("I would choose B", "B"), ("I choose option (C).", "C"), ("I'd go with D.", "D"),
    ("I pick C because it fits.", "C"), ("The best choice is C", "C"), ("B is correct.", "B"),
    ("I think B is the right answer.", "B"), ("(B) is correct", "B"), ("The answer is C. Vitamin D", "C"),
    ("The answer is B. It matches picture A.", "B"), ("The picture shows a dog, so B.", "B"),
    ("It is red. Therefore, C", "C"), ("A and B are wrong, so C", "C"),
    ("Options A and C are wrong. The answer is D.", "D"), ("Option A is wrong; the answer is B", "B"),
    ("The answer is not A but C.", "C"), ("It is shown in picture C.", "C"), ("Looking at both, it must be (D)", "D"),
    ("答案是B", "B"), ("答案：C", "C"), ("正确答案是 D。", "D"), ("选B", "B"), ("The answer is a dog", ""),
    ("A dog", ""), ("A dog is in the picture", ""), ("a dog", ""), ("I think so", ""), ("I do not know", ""),
    ("The answer is A dog", ""), ("", ""), ("None of them", ""), ("Both pictures show a cat", ""), ("It's a DVD", ""),
    ("E", ""),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "letter"), REPLIES)
def test_the_letter_of_a_reply(reply: str, letter: str) -> None:
    assert chosen_letter(reply, 4) == letter


@pytest.mark.parametrize("letter", "ABCDEFGHI")
def test_every_letter_is_found_in_every_plain_form(letter: str) -> None:
    for form in (
        "{}",
        "({})",
        "{}.",
        "**{}**",
        "The answer is {}.",
        "Answer: {}",
        "Option {} is right",
        "{} is correct",
    ):
        assert chosen_letter(form.format(letter), 9) == letter
        assert chosen_letter(form.format("Z"), 9) == ""
