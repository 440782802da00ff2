"""DocVQA: questions about pages of documents."""

from dataclasses import dataclass

from interleave import metrics, tasks

from .base.question_tables import Form, Record, same_names
from .base.questions import MEDIUM_REPLY, PHRASE_PROMPT, PictureQuestions, texts


@tasks.register("docvqa")
@dataclass(kw_only=True, eq=False)
class DocVQA(PictureQuestions):
    """ANLS: the Levenshtein similarity to the nearest answer, from 0 to 1, and 0 where it is below one half.

    Form: ``DocVQA`` of lmms-lab/DocVQA, or the authors' val_v1.0.json, whose pictures start from media. The answers of
    the test split are not public. Prompt as in lmms-eval for LLaVA models.
    """

    path: str = "lmms-lab/DocVQA"
    subset: str | None = "DocVQA"
    split: str = "validation"
    prompt: str = PHRASE_PROMPT

    forms = (Form("DocVQA", same_names("questionId", "question", "answers", "image"), ("questionId",)),)
    num_items = 5349
    generation = MEDIUM_REPLY

    def answer(self, record: Record) -> str:
        return texts(record, "answers")[0]

    def score(self, record: Record, reply: str) -> dict[str, float]:
        return {"anls": metrics.anls(reply, texts(record, "answers"))}
