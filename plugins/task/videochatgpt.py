"""Video-ChatGPT's benchmark: five dimensions of answers about videos, each graded by a judge."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interleave import BadSample, InputError, JudgedTask, JudgeMessages, hint, tasks

from .base import judge_prompts as judged
from .base.question_tables import Form, Row, Rows, load, named, same
from .base.questions import LONG, Record, text
from .base.video_questions import Videos

Asked = Sequence[tuple[Record, str]]
PARTS: Mapping[str, tuple[str, str]] = {
    "CI": ("Generic", "generic_qa.json"),
    "DO": ("Generic", "generic_qa.json"),
    "CU": ("Generic", "generic_qa.json"),
    "TU": ("Temporal", "temporal_qa.json"),
    "CO": ("Consistency", "consistency_qa.json"),
}
"""Which questions each dimension asks: a subset on the hub, a file of the authors."""
CRITERIA: Mapping[str, judged.Criterion] = {
    "CI": judged.CORRECTNESS,
    "DO": judged.DETAIL,
    "CU": judged.CONTEXT,
    "TU": judged.TEMPORAL,
    "CO": judged.CONSISTENCY,
}
ITEMS = {"Generic": 1996, "Temporal": 499, "Consistency": 998}


@tasks.register("videochatgpt")
@dataclass(kw_only=True, eq=False)
class VideoChatGPT(Videos, JudgedTask):
    """A judge scores from 0 to 5; a group for each of the dimensions.

    Correctness of information (CI), detail orientation (DO) and contextual understanding (CU) ask the same questions,
    once for each; temporal understanding (TU) and consistency (CO) have their own. For consistency the judge sees the
    replies to two questions at once, and both items get its score.

    Form: a folder with the authors' generic_qa.json, temporal_qa.json and consistency_qa.json, or the three subsets of
    lmms-lab/VideoChatGPT. dimensions: which are asked. The questions stand as they are, as in lmms-eval.
    """

    subset: None = field(init=False, default=None)
    path: str = "lmms-lab/VideoChatGPT"
    dimensions: Sequence[str] = tuple(PARTS)

    forms = (
        Form("lmms-lab/VideoChatGPT", {"video": "video_name"} | same("question", "answer")),
        Form("lmms-lab/VideoChatGPT", {"video": "video_name"} | same("question_1", "question_2", "answer")),
        Form("Video-ChatGPT's files", {"video": "video_name", "question": "Q", "answer": "A"}),
        Form("Video-ChatGPT's files", {"video": "video_name", "question_1": "Q1", "question_2": "Q2", "answer": "A"}),
    )
    generation = LONG
    best = judged.BEST

    def __post_init__(self) -> None:
        for name in self.dimensions:
            if name not in PARTS:
                raise InputError(f"Video-ChatGPT has no dimension {name!r}{hint(name, PARTS)}")
        super().__post_init__()

    def whole(self) -> int:
        return sum(ITEMS[PARTS[name][0]] for name in self.dimensions)

    def read(self) -> Rows:
        tables = {PARTS[name]: self.part(*PARTS[name]) for name in self.dimensions}
        table = [
            {**row, "dimension": name, "key": f"{name}_{row['id']}"}
            for name in self.dimensions
            for row in tables[PARTS[name]]
        ]
        return named(table, self.path, [Form("Video-ChatGPT", same("video", "question", "answer"), ("key",))])

    def part(self, subset: str, file: str) -> Sequence[Row]:
        """The rows of one subset, or of the file that is the same. Raises InputError."""
        local = Path(self.path, file)
        if not local.is_file() and any(Path(self.path, other).is_file() for _, other in PARTS.values()):
            raise InputError(f"{self.path} has no {file}; leave out what it asks with dimensions=[...]")
        path = str(local if local.is_file() else self.path)
        paired = subset == "Consistency"
        forms = [form for form in self.forms if ("question_1" in form.columns) == paired]
        rows = named(load(path, subset, self.split), path, forms)
        return pairs(rows) if paired else list(rows)

    def answer(self, record: Record) -> str:
        return text(record, "answer")

    def group(self, record: Record) -> str:
        return str(record["dimension"])

    def together(self, asked: Asked) -> Sequence[tuple[Record, str] | None]:
        replies = {(r["dimension"], r["pair"], r["place"]): reply for r, reply in asked if "pair" in r}
        joined: list[tuple[Record, str] | None] = []
        for record, reply in asked:
            if "pair" not in record:
                joined.append((record, reply))
                continue
            both = [replies.get((record["dimension"], record["pair"], place)) for place in (1, 2)]
            joined.append(None if None in both else ({**record, "replies": both}, reply))
        return joined

    def judge(self, record: Record, reply: str) -> JudgeMessages:
        """Raises BadSample for one question of a pair alone."""
        criterion = CRITERIA[record["dimension"]]
        if "pair" not in record:
            return judged.ask(criterion, judged.compared(text(record, "question"), self.answer(record), reply))
        if "replies" not in record:
            raise BadSample("no pair", "consistency is judged by the replies to two questions, and there is one")
        first, second = record["replies"]
        return judged.ask(
            criterion,
            {
                "Question 1": record["questions"][0],
                "Question 2": record["questions"][1],
                "Correct answer": self.answer(record),
                "Predicted answer to question 1": first,
                "Predicted answer to question 2": second,
            },
        )

    def judgement(self, text: str) -> dict[str, float] | None:
        return judged.read_score(text)


def pairs(rows: Sequence[Row]) -> list[Row]:
    """Rows of two questions, or of one of them and ``None``, which is the hub's form -> a row for each question.

    ``pair`` and ``place`` say which belong together: the first and the second question of a video, in their order.
    """
    seen: Counter[tuple[Any, int]] = Counter()
    single: list[Row] = []
    questions: dict[str, dict[int, str]] = {}
    for row in rows:
        for place in (1, 2):
            question = row.get(f"question_{place}")
            if question in (None, "None"):
                continue
            pair = f"{row['video']}_{seen[row['video'], place]}"
            seen[row["video"], place] += 1
            questions.setdefault(pair, {})[place] = str(question)
            single.append({**row, "question": question, "pair": pair, "place": place, "id": f"{pair}_{place}"})
    return [{**row, "questions": [questions[row["pair"]].get(place, "") for place in (1, 2)]} for row in single]
