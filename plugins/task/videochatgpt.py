"""Video-ChatGPT's benchmark: five dimensions of answers about videos, each graded by a judge."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from interleave import BadSample, InputError, JudgedTask, JudgeMessages, hint, tasks

from ..dataset.huggingface import Row
from .base import judge_prompts
from .base.question_tables import Form, Record, Rows, load_table, same_names, to_rows
from .base.questions import LONG_REPLY, text, texts
from .base.video_questions import VideoQuestions

Asked = tuple[Record, str]
"""An item that was asked, and the reply to it."""


class QuestionFile(NamedTuple):
    """One of the three sets of questions.

    subset: its name on the hub.
    file: its name in the authors' folder.
    """

    subset: str
    file: str


GENERIC = QuestionFile("Generic", "generic_qa.json")
TEMPORAL = QuestionFile("Temporal", "temporal_qa.json")
CONSISTENCY = QuestionFile("Consistency", "consistency_qa.json")
NUM_ITEMS: Mapping[QuestionFile, int] = {GENERIC: 1996, TEMPORAL: 499, CONSISTENCY: 998}
DIMENSIONS: Mapping[str, QuestionFile] = {
    "CI": GENERIC,
    "DO": GENERIC,
    "CU": GENERIC,
    "TU": TEMPORAL,
    "CO": CONSISTENCY,
}
"""Dimension -> the questions that are asked for it."""
CRITERIA: Mapping[str, judge_prompts.Criterion] = {
    "CI": judge_prompts.CORRECTNESS,
    "DO": judge_prompts.DETAIL,
    "CU": judge_prompts.CONTEXT,
    "TU": judge_prompts.TEMPORAL,
    "CO": judge_prompts.CONSISTENCY,
}


@tasks.register("videochatgpt")
@dataclass(kw_only=True, eq=False)
class VideoChatGPT(VideoQuestions, JudgedTask):
    """A judge scores from 0 to 5; a group for each of the dimensions.

    Correctness of information (CI), detail orientation (DO) and contextual understanding (CU) ask the same questions,
    once for each; temporal understanding (TU) and consistency (CO) have their own. For consistency the judge sees the
    replies to two questions at once, and both items get its score.

    Form: a folder with the authors' generic_qa.json, temporal_qa.json and consistency_qa.json, or the three subsets of
    lmms-lab/VideoChatGPT. The questions stand as they are, as in lmms-eval.

    dimensions: which are asked.
    """

    subset: None = field(init=False, default=None)  # not an option: the dimensions say which subsets are read
    path: str = "lmms-lab/VideoChatGPT"
    dimensions: Sequence[str] = tuple(DIMENSIONS)

    forms = (
        Form("lmms-lab/VideoChatGPT", {"video": "video_name"} | same_names("question", "answer")),
        Form("lmms-lab/VideoChatGPT", {"video": "video_name"} | same_names("question_1", "question_2", "answer")),
        Form("Video-ChatGPT's files", {"video": "video_name", "question": "Q", "answer": "A"}),
        Form("Video-ChatGPT's files", {"video": "video_name", "question_1": "Q1", "question_2": "Q2", "answer": "A"}),
    )
    generation = LONG_REPLY
    best = judge_prompts.BEST

    def __post_init__(self) -> None:
        for name in self.dimensions:
            if name not in DIMENSIONS:
                raise InputError(f"Video-ChatGPT has no dimension {name!r}{hint(name, DIMENSIONS)}")
        super().__post_init__()

    def num_expected(self) -> int:
        return sum(NUM_ITEMS[DIMENSIONS[name]] for name in self.dimensions)

    def read(self) -> Rows:
        """The questions of each dimension in turn; ``dimension`` names it, ``key`` the item."""
        chosen = dict.fromkeys(DIMENSIONS[name] for name in self.dimensions)  # each set of questions is read once
        rows_of = {questions: self.read_questions(questions) for questions in chosen}
        table: list[Row] = []
        for name in self.dimensions:
            for row in rows_of[DIMENSIONS[name]]:
                table.append({**row, "dimension": name, "key": f"{name}_{row['id']}"})
        return to_rows(table, self.path, [Form("Video-ChatGPT", same_names("video", "question", "answer"), ("key",))])

    def read_questions(self, questions: QuestionFile) -> Sequence[Row]:
        """A subset of the hub, or the authors' file that is the same. Raises InputError."""
        subset, file = questions
        local = Path(self.path, file)
        if not local.is_file() and any(Path(self.path, other.file).is_file() for other in NUM_ITEMS):
            raise InputError(f"{self.path} has no {file}; leave out what it asks with dimensions=[...]")
        path = str(local if local.is_file() else self.path)
        paired = questions == CONSISTENCY
        forms = [form for form in self.forms if ("question_1" in form.columns) == paired]
        rows = to_rows(load_table(path, subset, self.split), path, forms)
        return split_pairs(rows) if paired else list(rows)

    def answer(self, record: Record) -> str:
        return text(record, "answer")

    def group(self, record: Record) -> str:
        return str(record["dimension"])

    def together(self, asked: Sequence[Asked]) -> Sequence[Asked | None]:
        """Each record of a pair gets ``replies``, to its first and its second question; None where one is missing."""
        replies: dict[tuple[object, ...], str] = {}
        for record, reply in asked:
            if "pair" in record:
                replies[record["dimension"], record["pair"], record["place"]] = reply
        joined: list[Asked | None] = []
        for record, reply in asked:
            if "pair" not in record:
                joined.append((record, reply))
                continue
            both = [replies.get((record["dimension"], record["pair"], place)) for place in (1, 2)]
            joined.append(None if None in both else ({**record, "replies": both}, reply))
        return joined

    def judge(self, record: Record, reply: str) -> JudgeMessages:
        """Raises BadSample for one question of a pair alone."""
        criterion = CRITERIA[str(record["dimension"])]
        if "pair" not in record:
            fields = judge_prompts.fields_of_reply(text(record, "question"), self.answer(record), reply)
            return judge_prompts.judge_messages(criterion, fields)
        if "replies" not in record:
            raise BadSample("no pair", "consistency is judged by the replies to two questions, and there is one")
        first_question, second_question = texts(record, "questions")
        first_reply, second_reply = texts(record, "replies")
        fields = {
            "Question 1": first_question,
            "Question 2": second_question,
            "Correct answer": self.answer(record),
            "Predicted answer to question 1": first_reply,
            "Predicted answer to question 2": second_reply,
        }
        return judge_prompts.judge_messages(criterion, fields)

    def judgement(self, text: str) -> dict[str, float] | None:
        return judge_prompts.read_score(text)


def split_pairs(rows: Sequence[Row]) -> list[Row]:
    """Rows with ``question_1`` and ``question_2`` -> a row for each question.

    The hub's rows hold one question each, and the text ``None`` in place of the other. The first question of a video
    that stands in ``question_1`` belongs to the first one that stands in ``question_2``, and so on. New columns:

    question: the text that is asked.
    pair: names the pair.
    place: 1 or 2, which question of the pair it is.
    questions: both texts of the pair; empty where one is missing.
    """
    seen: Counter[tuple[object, int]] = Counter()  # video, place -> questions so far
    single: list[Row] = []
    pairs: list[str] = []  # of each row in ``single``
    questions: dict[str, dict[int, str]] = {}  # pair -> place -> text
    for row in rows:
        for place in (1, 2):
            question = row.get(f"question_{place}")
            if question in (None, "None"):
                continue
            pair = f"{row['video']}_{seen[row['video'], place]}"  # video and number of the pair in it
            seen[row["video"], place] += 1
            questions.setdefault(pair, {})[place] = str(question)
            single.append({**row, "question": question, "pair": pair, "place": place, "id": f"{pair}_{place}"})
            pairs.append(pair)
    found: list[Row] = []
    for row, pair in zip(single, pairs, strict=True):
        both = [questions[pair].get(place, "") for place in (1, 2)]
        found.append({**row, "questions": both})
    return found
