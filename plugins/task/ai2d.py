"""AI2D: diagrams of science lessons."""

from dataclasses import dataclass

from interleave import tasks

from .base.question_tables import Form, same
from .base.questions import LETTER, Choices, Pictures


@tasks.register("ai2d")
@dataclass(kw_only=True, eq=False)
class AI2D(Pictures, Choices):
    """Accuracy of the chosen option.

    Form: lmms-lab/ai2d, whose answer is the option's number from 0. Prompt as in lmms-eval for LLaVA models.
    """

    path: str = "lmms-lab/ai2d"
    prompt: str = LETTER

    forms = (Form("lmms-lab/ai2d", same("question", "options", "answer", "image")),)
    items = 3088
