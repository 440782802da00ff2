"""ScienceQA: lessons of school, those questions that have a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from interleave import InputError, Media, tasks

from .base.question_tables import Form, Record, Rows, load_table, same_names, to_rows
from .base.questions import LETTER_PROMPT, ChoiceQuestions, PictureQuestions, picture_data, texts


@tasks.register("scienceqa_img")
@dataclass(kw_only=True, eq=False)
class ScienceQA(PictureQuestions, ChoiceQuestions):
    """Accuracy of the chosen option; groups by subject.

    Form: ``ScienceQA-IMG`` of lmms-lab/ScienceQA, or the authors' problems.json, of which the questions of the split
    with a picture are asked, found as media/SPLIT/KEY/image.png. Prompt as in lmms-eval for LLaVA models, the hint
    before the question.
    """

    path: str = "lmms-lab/ScienceQA"
    subset: str | None = "ScienceQA-IMG"
    prompt: str = LETTER_PROMPT

    forms = (Form("ScienceQA", same_names("question", "choices", "answer", "hint", "image", "subject")),)
    num_items = 2017

    def read(self) -> Rows:
        table = load_table(self.path, self.subset, self.split)
        if isinstance(table, list) and "key" in table[0]:  # problems.json, which has all splits
            table = [row for row in table if row.get("image") and row.get("split") == self.split]
            if not table:
                raise InputError(f"{self.path} has no question of the split {self.split!r} with a picture")
        return to_rows(table, self.path, self.forms)

    def visuals(self, record: Record) -> Sequence[Media]:
        cell = self.rows.picture_cell(record, "image")
        if isinstance(cell, str) and "key" in record:
            cell = f"{self.split}/{record['key']}/{cell}"
        return [Media(self.single, picture_data(cell, "image", self.media))]

    def question(self, record: Record) -> str:
        hint = str(record["hint"] or "").strip()
        return (f"Context: {hint}\n" if hint else "") + super().question(record)

    def options(self, record: Record) -> list[str]:
        return texts(record, "choices")

    def group(self, record: Record) -> str:
        return f"all/{record['subject']}"
