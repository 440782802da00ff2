"""ChartQA: questions about charts, written by people and by machine."""

from dataclasses import dataclass

from interleave import metrics, tasks

from .base.question_tables import Form, Record, same_names
from .base.questions import PHRASE_PROMPT, SHORT_REPLY, PictureQuestions, text


@tasks.register("chartqa")
@dataclass(kw_only=True, eq=False)
class ChartQA(PictureQuestions):
    """Relaxed accuracy: a number may be off by 5%, other answers must be equal. Groups human and augmented.

    Form: lmms-lab/ChartQA, or the authors' folder with test_human.json and test_augmented.json, with media the folder
    ``png`` beside them. Prompt as in lmms-eval for LLaVA models.
    """

    path: str = "lmms-lab/ChartQA"
    prompt: str = PHRASE_PROMPT

    forms = (
        Form("lmms-lab/ChartQA", {"part": "type"} | same_names("question", "answer", "image")),
        Form("ChartQA's test_*.json", {"part": "file", "question": "query", "answer": "label", "image": "imgname"}),
    )
    num_items = 2500
    generation = SHORT_REPLY

    def answer(self, record: Record) -> str:
        return text(record, "answer")

    def score(self, record: Record, reply: str) -> dict[str, float]:
        return {"relaxed_accuracy": metrics.relaxed_accuracy(reply, self.answer(record))}

    def group(self, record: Record) -> str:
        # the hub's type is human_test or augmented_test, the authors' file test_human or test_augmented
        return "all/human" if "human" in str(record["part"]) else "all/augmented"
