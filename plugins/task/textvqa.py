"""TextVQA: questions that need text in pictures to be read."""

from collections import Counter
from dataclasses import dataclass

from interleave import Media, tasks
from interleave.scoring import metrics

from .base.question_tables import Form, same
from .base.questions import PHRASE, PHRASES, Pictures, Record, picture, text, texts


@tasks.register("textvqa")
@dataclass(kw_only=True, eq=False)
class TextVQA(Pictures):
    """Agreement with ten people, as VQA measures it; where they disagree, the best reply scores below 1.

    Form: lmms-lab/textvqa, or the authors' TextVQA_0.5.1_val.json with media the folder of its pictures, found as
    ``image_id.jpg``. Prompt as in lmms-eval for LLaVA models, without OCR tokens.
    """

    path: str = "lmms-lab/textvqa"
    split: str = "validation"
    prompt: str = PHRASE

    forms = (
        Form("lmms-lab/textvqa", same("question", "answers", "image"), ("question_id",)),
        Form("TextVQA's json files", same("question", "answers", "image_id"), ("question_id",)),
    )
    items = 5000
    generation = PHRASES

    def shown(self, record: Record) -> list[Media]:
        held = self.rows.held(record, "image") or f"{text(record, 'image_id')}.jpg"
        return [Media(self.single, picture(held, "image", self.media))]

    def question(self, record: Record) -> str:
        return f"{text(record, 'question').capitalize()}\n{self.prompt}"

    def answer(self, record: Record) -> str:
        """What most people said."""
        return Counter(texts(record, "answers")).most_common(1)[0][0]

    def score(self, record: Record, reply: str) -> dict[str, float]:
        return {"accuracy": metrics.vqa_accuracy(reply, texts(record, "answers"))}
