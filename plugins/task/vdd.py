"""Video detailed description (VDD): long descriptions of videos, graded by a judge."""

from dataclasses import dataclass

from interleave import JudgedTask, JudgeMessages, tasks

from .base import judge_prompts
from .base.question_tables import Form, Record, same_names
from .base.questions import LONG_REPLY, text
from .base.video_questions import VideoQuestions


@tasks.register("vdd")
@dataclass(kw_only=True, eq=False)
class VideoDescription(VideoQuestions, JudgedTask):
    """A judge scores from 0 to 5 how complete and how specific a description is.

    Form: lmms-lab/VideoDetailDescription, or a JSON list of ``{"video_name", "Q", "A"}`` as Video-ChatGPT has them. The
    videos are Video-ChatGPT's test videos. The question stands as it is, as in lmms-eval.
    """

    path: str = "lmms-lab/VideoDetailDescription"

    forms = (
        Form("lmms-lab/VideoDetailDescription", {"video": "video_name"} | same_names("question", "answer")),
        Form("Video-ChatGPT's files", {"video": "video_name", "question": "Q", "answer": "A"}),
    )
    num_items = 499
    generation = LONG_REPLY
    best = judge_prompts.BEST

    def answer(self, record: Record) -> str:
        return text(record, "answer")

    def judge(self, record: Record, reply: str) -> JudgeMessages:
        fields = judge_prompts.fields_of_reply(text(record, "question"), self.answer(record), reply)
        return judge_prompts.judge_messages(judge_prompts.DETAIL, fields)

    def judgement(self, text: str) -> dict[str, float] | None:
        return judge_prompts.read_score(text)
