"""DocVQA: questions about pages of documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interleave import tasks
from interleave.scoring import metrics

from .base.question_tables import Form, same
from .base.questions import PHRASE, Pictures, Record, texts

ANSWER: Mapping[str, Any] = {"max_new_tokens": 128}


@tasks.register("docvqa")
@dataclass(kw_only=True, eq=False)
class DocVQA(Pictures):
    """ANLS: the Levenshtein similarity to the nearest answer, 0 below one half.

    Form: ``DocVQA`` of lmms-lab/DocVQA, or the authors' val_v1.0.json, whose pictures start from media. The answers of
    the test split are not public. Prompt as in lmms-eval for LLaVA models.
    """

    path: str = "lmms-lab/DocVQA"
    subset: str | None = "DocVQA"
    split: str = "validation"
    prompt: str = PHRASE

    forms = (Form("DocVQA", same("questionId", "question", "answers", "image"), ("questionId",)),)
    items = 5349
    generation = ANSWER

    def answer(self, record: Record) -> str:
        return texts(record, "answers")[0]

    def score(self, record: Record, reply: str) -> dict[str, float]:
        return {"anls": metrics.anls(reply, texts(record, "answers"))}
