"""AI2D: diagrams of science lessons."""

from dataclasses import dataclass

from interleave import tasks

from .base.question_tables import Form, same_names
from .base.questions import LETTER_PROMPT, ChoiceQuestions, PictureQuestions


@tasks.register("ai2d")
@dataclass(kw_only=True, eq=False)
class AI2D(PictureQuestions, ChoiceQuestions):
    """Accuracy of the chosen option.

    Form: lmms-lab/ai2d, whose answer is the option's number from 0. Prompt as in lmms-eval for LLaVA models.
    """

    path: str = "lmms-lab/ai2d"
    prompt: str = LETTER_PROMPT

    forms = (Form("lmms-lab/ai2d", same_names("question", "options", "answer", "image")),)
    num_items = 3088
