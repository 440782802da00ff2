"""ActivityNet-QA: open questions about videos of activities, graded by a judge."""

from dataclasses import dataclass
from pathlib import Path

from interleave import InputError, JudgedTask, JudgeMessages, read_json, tasks

from .base import judge_prompts
from .base.question_tables import Form, Record, Rows, same_names, to_rows
from .base.questions import PHRASE_PROMPT, PHRASE_REPLY, text
from .base.video_questions import VideoQuestions


@tasks.register("activitynet_qa")
@dataclass(kw_only=True, eq=False)
class ActivityNetQA(VideoQuestions, JudgedTask):
    """A judge says whether the reply means what the answer does (``accuracy``), and how well, from 0 to 5 (``score``).

    Form: a folder with the authors' test_q.json and test_a.json, or ``Generation`` of lmms-lab/ActivityNetQA. Videos
    are ``v_NAME.mp4`` of any suffix. The prompt as in lmms-eval for LLaVA models: the question gets its question mark.
    """

    path: str = "lmms-lab/ActivityNetQA"
    subset: str | None = "Generation"
    prompt: str = PHRASE_PROMPT

    forms = (
        Form(
            "lmms-lab/ActivityNetQA, or test_q.json and test_a.json",
            {"video": "video_name"} | same_names("question", "question_id", "answer", "type"),
            ("question_id",),
        ),
    )
    num_items = 8000
    name_prefixes = ("v_", "")
    generation = PHRASE_REPLY
    best = judge_prompts.BEST

    def read(self) -> Rows:
        """The authors' two files joined by ``question_id``, or the hub's table, which has them joined."""
        questions = Path(self.path, f"{self.split}_q.json")
        if not questions.is_file():
            return super().read()
        answers = Path(self.path, f"{self.split}_a.json")
        by_id = {str(row.get("question_id")): row for row in read_json(answers)}
        if not by_id:
            raise InputError(f"{answers} holds no rows")
        unanswered = dict.fromkeys(next(iter(by_id.values())))  # the columns of an answer without values
        table = []
        for row in read_json(questions):
            answer = by_id.get(str(row.get("question_id")), unanswered)
            table.append({**answer, **row})
        return to_rows(table, self.path, self.forms)

    def question(self, record: Record) -> str:
        return f"{text(record, 'question').rstrip('?')}? {self.prompt}"  # most questions of the files have no mark

    def answer(self, record: Record) -> str:
        return text(record, "answer")

    def judge(self, record: Record, reply: str) -> JudgeMessages:
        fields = judge_prompts.fields_of_reply(text(record, "question"), self.answer(record), reply)
        return judge_prompts.judge_messages(judge_prompts.MATCH, fields, verdict=True)

    def judgement(self, text: str) -> dict[str, float] | None:
        return judge_prompts.read_verdict(text)
