"""POPE: whether a model sees objects that are not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from interleave import Scored, metrics, tasks

from .base.question_tables import Form, Record, same_names
from .base.questions import MEDIUM_REPLY, PHRASE_PROMPT, PictureQuestions, YesNoQuestions

KINDS = ("random", "popular", "adversarial")
"""How the object that is asked for was drawn: at random, from the frequent ones, or from those often seen together."""


@tasks.register("pope")
@dataclass(kw_only=True, eq=False)
class Pope(PictureQuestions, YesNoQuestions):
    """F1 of the answer yes, accuracy, precision, recall and the share of replies that say yes, by kind of object.

    Form: lmms-lab/POPE, or a folder with the authors' coco_pope_random.json, coco_pope_popular.json and
    coco_pope_adversarial.json, with media the folder of COCO's val2014. Prompt as in lmms-eval for LLaVA models, which
    calls the share of true yes the yes-ratio: here it is that of the replies.
    """

    path: str = "lmms-lab/POPE"
    prompt: str = PHRASE_PROMPT

    forms = (
        Form("lmms-lab/POPE", same_names("question", "answer", "image", "category"), ("category", "question_id")),
        Form(
            "POPE's coco_pope_*.json",
            {"question": "text", "answer": "label", "image": "image", "category": "file"},
            ("file", "question_id"),
        ),
    )
    num_items = 9000
    generation = MEDIUM_REPLY

    def group(self, record: Record) -> str:
        for kind in KINDS:
            if kind in str(record["category"]):
                return f"all/{kind}"
        return "all/other"

    def chance(self, record: Record) -> float | None:
        return 0.5

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        replied = [_yes_no(item.reply) == "yes" for item in scored]
        true = [self.answer(item.record) == "yes" for item in scored]
        hits = sum(a and b for a, b in zip(replied, true, strict=True))  # true positives
        return {
            "f1": 2 * hits / max(1, sum(replied) + sum(true)),  # harmonic mean of precision and recall
            "accuracy": sum(item.scores["accuracy"] for item in scored) / len(scored),
            "precision": hits / max(1, sum(replied)),  # of the replies yes, those that are right
            "recall": hits / max(1, sum(true)),  # of the true yes, those that are found
            "yes_share": sum(replied) / len(scored),
        }


@cache
def _yes_no(reply: str) -> str:
    """Cached, because the bootstrap of an interval reads the same replies many times."""
    return metrics.yes_no(reply)
