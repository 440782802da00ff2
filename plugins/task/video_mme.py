"""Video-MME: questions about short, medium and long videos."""

from collections.abc import Sequence
from dataclasses import dataclass

from interleave import Media, tasks

from .base.question_tables import Form, Record, same_names
from .base.questions import ChoiceQuestions, option_by_letter, text
from .base.video_questions import VideoQuestions


@tasks.register("video_mme")
@dataclass(kw_only=True, eq=False)
class VideoMME(VideoQuestions, ChoiceQuestions):
    """Accuracy of the chosen one of four answers, without subtitles; groups by the length of the video.

    Form: the Parquet table of lmms-lab/Video-MME, which is the authors'. Its options begin with their letters. Videos
    are ``videoID.mp4``. The prompt is the authors' for frames alone, as lmms-eval asks it.

    before_question: stands in front of the question.
    prompt: stands after the options.
    """

    path: str = "lmms-lab/Video-MME"
    before_question: str = (
        "Select the best answer to the following multiple-choice question based on the video. "
        "Respond with only the letter (A, B, C, or D) of the correct option."
    )
    prompt: str = "The best answer is:"

    forms = (
        Form(
            "lmms-lab/Video-MME",
            same_names("videoID", "duration", "question", "options", "answer"),
            ("question_id",),
        ),
    )
    num_items = 2700

    def visuals(self, record: Record) -> Sequence[Media]:
        return [Media(self.video, self.find_video(text(record, "videoID")))]

    def question(self, record: Record) -> str:
        return "\n".join([self.before_question, text(record, "question"), *self.options(record), self.prompt])

    def right_option(self, record: Record) -> int:
        return option_by_letter(record["answer"])

    def group(self, record: Record) -> str:
        return f"all/{record['duration']}"
