"""Video-MME: questions about short, medium and long videos."""

from collections.abc import Sequence
from dataclasses import dataclass

from interleave import Media, tasks

from .base.question_tables import Form, same
from .base.questions import Choices, Record, lettered, text
from .base.video_questions import Videos


@tasks.register("video_mme")
@dataclass(kw_only=True, eq=False)
class VideoMME(Videos, Choices):
    """Accuracy of the chosen one of four answers, without subtitles; groups by the length of the video.

    Form: the Parquet table of lmms-lab/Video-MME, which is the authors'. Its options begin with their letters. Videos
    are ``videoID.mp4``. The prompt is the authors' for frames alone, as lmms-eval asks it:
    before_question stands in front of the question, prompt after the options.
    """

    path: str = "lmms-lab/Video-MME"
    before_question: str = (
        "Select the best answer to the following multiple-choice question based on the video. "
        "Respond with only the letter (A, B, C, or D) of the correct option."
    )
    prompt: str = "The best answer is:"

    forms = (
        Form("lmms-lab/Video-MME", same("videoID", "duration", "question", "options", "answer"), ("question_id",)),
    )
    items = 2700

    def shown(self, record: Record) -> Sequence[Media]:
        return [Media(self.video, self.find(text(record, "videoID")))]

    def question(self, record: Record) -> str:
        return "\n".join([self.before_question, text(record, "question"), *self.options(record), self.prompt])

    def place(self, record: Record) -> int:
        return lettered(record["answer"])

    def group(self, record: Record) -> str:
        return f"all/{record['duration']}"
