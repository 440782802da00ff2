"""Video detailed description (VDD): long descriptions of videos, graded by a judge."""

from dataclasses import dataclass

from interleave import JudgedTask, JudgeMessages, tasks

from .base import judge_prompts as judged
from .base.question_tables import Form, same
from .base.questions import LONG, Record, text
from .base.video_questions import Videos


@tasks.register("vdd")
@dataclass(kw_only=True, eq=False)
class VideoDescription(Videos, JudgedTask):
    """A judge scores from 0 to 5 how complete and how specific a description is.

    Form: lmms-lab/VideoDetailDescription, or a JSON list of ``{"video_name", "Q", "A"}`` as Video-ChatGPT has them. The
    videos are Video-ChatGPT's test videos. The question stands as it is, as in lmms-eval.
    """

    path: str = "lmms-lab/VideoDetailDescription"

    forms = (
        Form("lmms-lab/VideoDetailDescription", {"video": "video_name"} | same("question", "answer")),
        Form("Video-ChatGPT's files", {"video": "video_name", "question": "Q", "answer": "A"}),
    )
    items = 499
    generation = LONG
    best = judged.BEST

    def answer(self, record: Record) -> str:
        return text(record, "answer")

    def judge(self, record: Record, reply: str) -> JudgeMessages:
        fields = judged.compared(text(record, "question"), self.answer(record), reply)
        return judged.ask(judged.DETAIL, fields)

    def judgement(self, text: str) -> dict[str, float] | None:
        return judged.read_score(text)
