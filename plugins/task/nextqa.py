"""NExT-QA: why and how things happen in short videos, by multiple choice and with free answers."""

from dataclasses import dataclass

from interleave import metrics, tasks

from .base.question_tables import Form, Record, same_names
from .base.questions import LETTER_PROMPT, PHRASE_REPLY, ChoiceQuestions, option_by_number, text
from .base.video_questions import VideoQuestions

KINDS = {"C": "causal", "T": "temporal", "D": "descriptive"}
"""First letter of a question's type -> its group."""


def group_of(record: Record) -> str:
    """The row of the table that a question counts for."""
    letter = str(record["type"])[:1]
    return f"all/{KINDS.get(letter, 'other')}"


@tasks.register("nextqa_mc")
@dataclass(kw_only=True, eq=False)
class NextQAChoices(VideoQuestions, ChoiceQuestions):
    """Accuracy of the chosen one of five answers; groups for causal, temporal and descriptive questions.

    Form: test.csv of the authors' NExT-QA (``dataset/nextqa``), or ``MC`` of lmms-lab/NExTQA, which has the same
    columns. Videos are ``VIDEO.mp4``. Prompt as in lmms-eval for LLaVA models.
    """

    path: str = "lmms-lab/NExTQA"
    subset: str | None = "MC"
    prompt: str = LETTER_PROMPT

    forms = (
        Form(
            "NExT-QA's test.csv",
            same_names("video", "question", "answer", "qid", "type", "a0", "a1", "a2", "a3", "a4"),
            ("video", "qid"),
        ),
    )
    num_items = 8564

    def options(self, record: Record) -> list[str]:
        return [text(record, f"a{i}").strip() for i in range(5)]

    def right_option(self, record: Record) -> int:
        return option_by_number(record["answer"])

    def group(self, record: Record) -> str:
        return group_of(record)


@tasks.register("nextqa_oe")
@dataclass(kw_only=True, eq=False)
class NextQAOpen(VideoQuestions):
    """Token F1 and exact match with the answer, or with the second one that some questions have, whichever is more.

    Form: test.csv of the authors' NExT-OE, or ``OE`` of lmms-lab/NExTQA, which has the same columns. Prompt as in
    lmms-eval. It is not the authors' own score: that is WUPS, which compares words by WordNet, and no package brings
    WordNet along.
    """

    path: str = "lmms-lab/NExTQA"
    subset: str | None = "OE"
    prompt: str = "Answer a question using a short phrase or sentence."

    forms = (
        Form(
            "NExT-OE's test.csv",
            same_names("video", "question", "answer", "qid", "type", "additional_ref_answer"),
            ("video", "qid"),
        ),
    )
    num_items = 9178
    generation = PHRASE_REPLY

    def answer(self, record: Record) -> str:
        return text(record, "answer").strip()

    def score(self, record: Record, reply: str) -> dict[str, float]:
        answers = [self.answer(record)]
        second = str(record.get("additional_ref_answer") or "").strip()
        if second:
            answers.append(second)
        return {
            "f1": max(metrics.token_f1(reply, answer) for answer in answers),
            "exact_match": max(metrics.exact_match(reply, answer) for answer in answers),
        }

    def group(self, record: Record) -> str:
        return group_of(record)
