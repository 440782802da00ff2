"""ScienceQA: lessons of school, those questions that have a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from interleave import InputError, Media, tasks

from .base.question_tables import Form, Rows, load, named, same
from .base.questions import LETTER, Choices, Pictures, Record, picture, texts


@tasks.register("scienceqa_img")
@dataclass(kw_only=True, eq=False)
class ScienceQA(Pictures, Choices):
    """Accuracy of the chosen option; groups by subject.

    Form: ``ScienceQA-IMG`` of lmms-lab/ScienceQA, or the authors' problems.json, of which the questions of the split
    with a picture are asked, found as media/SPLIT/KEY/image.png. Prompt as in lmms-eval for LLaVA models, the hint
    before the question.
    """

    path: str = "lmms-lab/ScienceQA"
    subset: str | None = "ScienceQA-IMG"
    prompt: str = LETTER

    forms = (Form("ScienceQA", same("question", "choices", "answer", "hint", "image", "subject")),)
    items = 2017

    def read(self) -> Rows:
        table = load(self.path, self.subset, self.split)
        if isinstance(table, list) and "key" in table[0]:
            table = [row for row in table if row.get("image") and row.get("split") == self.split]
            if not table:
                raise InputError(f"{self.path} has no question of the split {self.split!r} with a picture")
        return named(table, self.path, self.forms)

    def shown(self, record: Record) -> Sequence[Media]:
        held = self.rows.held(record, "image")
        if isinstance(held, str) and "key" in record:
            held = f"{self.split}/{record['key']}/{held}"
        return [Media(self.single, picture(held, "image", self.media))]

    def question(self, record: Record) -> str:
        hint = str(record["hint"] or "").strip()
        return (f"Context: {hint}\n" if hint else "") + super().question(record)

    def options(self, record: Record) -> list[str]:
        return texts(record, "choices")

    def group(self, record: Record) -> str:
        return f"all/{record['subject']}"
