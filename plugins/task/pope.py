"""POPE: whether a model sees objects that are not there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from interleave import Scored, tasks
from interleave.scoring import metrics

from .base.question_tables import Form, same
from .base.questions import PHRASE, Pictures, Record, YesNo

ANSWER: Mapping[str, Any] = {"max_new_tokens": 128}
KINDS = ("random", "popular", "adversarial")


@tasks.register("pope")
@dataclass(kw_only=True, eq=False)
class Pope(Pictures, YesNo):
    """F1 of the answer yes, accuracy, precision, recall and the share of replies that say yes, by kind of object.

    Form: lmms-lab/POPE, or a folder with the authors' coco_pope_random.json, coco_pope_popular.json and
    coco_pope_adversarial.json, with media the folder of COCO's val2014. Prompt as in lmms-eval for LLaVA models, which
    calls the share of true yes the yes-ratio: here it is that of the replies.
    """

    path: str = "lmms-lab/POPE"
    prompt: str = PHRASE

    forms = (
        Form("lmms-lab/POPE", same("question", "answer", "image", "category"), ("category", "question_id")),
        Form(
            "POPE's coco_pope_*.json",
            {"question": "text", "answer": "label", "image": "image", "category": "file"},
            ("file", "question_id"),
        ),
    )
    items = 9000
    generation = ANSWER

    def group(self, record: Record) -> str:
        return f"all/{next((kind for kind in KINDS if kind in str(record['category'])), 'other')}"

    def chance(self, record: Record) -> float | None:
        return 0.5

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        said = [_yes_no(item.reply) == "yes" for item in scored]
        true = [self.answer(item.record) == "yes" for item in scored]
        hits = sum(a and b for a, b in zip(said, true, strict=True))
        return {
            "f1": 2 * hits / max(1, sum(said) + sum(true)),
            "accuracy": sum(item.scores["accuracy"] for item in scored) / len(scored),
            "precision": hits / max(1, sum(said)),
            "recall": hits / max(1, sum(true)),
            "yes_share": sum(said) / len(scored),
        }


@cache
def _yes_no(reply: str) -> str:
    """Intervals read the same replies many times."""
    return metrics.yes_no(reply)
