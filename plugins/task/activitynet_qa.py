"""ActivityNet-QA: open questions about videos of activities, graded by a judge."""

from dataclasses import dataclass
from pathlib import Path

from interleave import InputError, JudgedTask, JudgeMessages, read_json, tasks

from .base import judge_prompts as judged
from .base.question_tables import Form, Rows, named, same
from .base.questions import PHRASE, PHRASES, Record, text
from .base.video_questions import Videos


@tasks.register("activitynet_qa")
@dataclass(kw_only=True, eq=False)
class ActivityNetQA(Videos, JudgedTask):
    """A judge says whether the reply means what the answer does (``accuracy``), and how well, from 0 to 5 (``score``).

    Form: a folder with the authors' test_q.json and test_a.json, or ``Generation`` of lmms-lab/ActivityNetQA. Videos
    are ``v_NAME.mp4`` of any suffix. The prompt as in lmms-eval for LLaVA models: the question gets its question mark.
    """

    path: str = "lmms-lab/ActivityNetQA"
    subset: str | None = "Generation"
    prompt: str = PHRASE

    forms = (
        Form(
            "lmms-lab/ActivityNetQA, or test_q.json and test_a.json",
            {"video": "video_name"} | same("question", "question_id", "answer", "type"),
            ("question_id",),
        ),
    )
    items = 8000
    before = ("v_", "")
    generation = PHRASES
    best = judged.BEST

    def read(self) -> Rows:
        files = [Path(self.path, f"{self.split}_{part}.json") for part in "qa"]
        if not files[0].is_file():
            return super().read()
        answers = {str(row.get("question_id")): row for row in read_json(files[1])}
        if not answers:
            raise InputError(f"{files[1]} holds no rows")
        empty = dict.fromkeys(next(iter(answers.values())))
        table = [{**answers.get(str(row.get("question_id")), empty), **row} for row in read_json(files[0])]
        return named(table, self.path, self.forms)

    def question(self, record: Record) -> str:
        return f"{text(record, 'question').rstrip('?')}? {self.prompt}"

    def answer(self, record: Record) -> str:
        return text(record, "answer")

    def judge(self, record: Record, reply: str) -> JudgeMessages:
        fields = judged.compared(text(record, "question"), self.answer(record), reply)
        return judged.ask(judged.MATCH, fields, verdict=True)

    def judgement(self, text: str) -> dict[str, float] | None:
        return judged.read_verdict(text)
