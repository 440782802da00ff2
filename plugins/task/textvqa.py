"""TextVQA: questions that need text in pictures to be read."""

from collections import Counter
from dataclasses import dataclass

from interleave import Media, metrics, tasks

from .base.question_tables import Form, Record, same_names
from .base.questions import PHRASE_PROMPT, PHRASE_REPLY, PictureQuestions, picture_data, text, texts


@tasks.register("textvqa")
@dataclass(kw_only=True, eq=False)
class TextVQA(PictureQuestions):
    """Agreement with ten people, as VQA measures it; where they disagree, the best reply scores below 1.

    Form: lmms-lab/textvqa, or the authors' TextVQA_0.5.1_val.json with media the folder of its pictures, found as
    ``image_id.jpg``. Prompt as in lmms-eval for LLaVA models, without OCR tokens.
    """

    path: str = "lmms-lab/textvqa"
    split: str = "validation"
    prompt: str = PHRASE_PROMPT

    forms = (
        Form("lmms-lab/textvqa", same_names("question", "answers", "image"), ("question_id",)),
        Form("TextVQA's json files", same_names("question", "answers", "image_id"), ("question_id",)),
    )
    num_items = 5000
    generation = PHRASE_REPLY

    def visuals(self, record: Record) -> list[Media]:
        cell = self.rows.picture_cell(record, "image") or f"{text(record, 'image_id')}.jpg"
        return [Media(self.single, picture_data(cell, "image", self.media))]

    def question(self, record: Record) -> str:
        return f"{text(record, 'question').capitalize()}\n{self.prompt}"

    def answer(self, record: Record) -> str:
        """The answer that most people gave."""
        return Counter(texts(record, "answers")).most_common(1)[0][0]

    def score(self, record: Record, reply: str) -> dict[str, float]:
        return {"accuracy": metrics.vqa_accuracy(reply, texts(record, "answers"))}
