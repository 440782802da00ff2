"""MMMU: questions of college courses, with up to seven pictures among the text."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from interleave import BadSample, Media, Message, Sample, tasks

from .base.question_tables import Form, Record, same_names
from .base.questions import (
    LETTER_PROMPT,
    PHRASE_PROMPT,
    SHORT_REPLY,
    ChoiceQuestions,
    PictureQuestions,
    option_by_letter,
    picture_data,
    text,
)

DISCIPLINES = {
    "Art and Design": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Health and Medicine": (
        "Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine", "Pharmacy",
        "Public_Health",
    ),
    "Humanities and Social Science": ("History", "Literature", "Sociology", "Psychology"),
    "Tech and Engineering": (
        "Agriculture", "Architecture_and_Engineering", "Computer_Science", "Electronics", "Energy_and_Power",
        "Materials", "Mechanical_Engineering",
    ),
}  # fmt: skip
"""The authors' six disciplines -> their thirty subjects."""
PICTURE_NAME = re.compile(r"<image (\d)>")
NUMBER = re.compile(r"-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?")
CONCLUSION_WORDS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ", "=")
"""After which a reply states its answer, as in the authors' ``parse_open_response``."""


@tasks.register("mmmu")
@dataclass(kw_only=True, eq=False)
class MMMU(PictureQuestions, ChoiceQuestions):
    """Accuracy of options and of free answers together; groups by discipline.

    A free answer is right where the truth stands in what the reply concludes, or equals a number in it to two decimals,
    as the authors compare. A reply that chooses no option is wrong; the authors' script guesses one there.

    Form: the validation split of lmms-lab/MMMU, which holds the authors' thirty subjects.

    single: the modality that takes the picture of a question with one.
    several: the modality that takes each picture of a question with several.
    interleaved: pictures stand where the text names them; else all stand in front and the text keeps its names for
        them, as in lmms-eval for LLaVA models.
    prompt: follows the options.
    open_prompt: follows a question without options.
    """

    path: str = "lmms-lab/MMMU"
    split: str = "validation"
    several: str = "image"
    prompt: str = LETTER_PROMPT
    open_prompt: str = PHRASE_PROMPT
    interleaved: bool = False

    forms = (Form("MMMU", same_names("id", "question", "options", "answer", "question_type", "image_1"), ("id",)),)
    num_items = 900
    generation = SHORT_REPLY

    def sample(self, record: Record) -> Sample:
        asked = self.question(record)
        if not self.interleaved or not PICTURE_NAME.search(asked):
            return super().sample(record)
        self.answer(record)  # raises BadSample: what has no true answer is not asked
        media = dict(zip(self.picture_columns(record), self.visuals(record), strict=True))
        content: list[str | Media] = []
        for i, piece in enumerate(PICTURE_NAME.split(asked)):  # text, number, text, number, ..., text
            if i % 2:
                content.append(media[f"image_{piece}"])
            elif piece:
                content.append(piece)
        return Sample([Message("user", content)], str(record["id"]))

    def picture_columns(self, record: Record) -> list[str]:
        """The columns of the pictures that the question names; the first one where it names none."""
        numbers = set(PICTURE_NAME.findall(self.question(record)))
        return sorted(f"image_{number}" for number in numbers) or ["image_1"]

    def visuals(self, record: Record) -> Sequence[Media]:
        columns = self.picture_columns(record)
        kind = self.single if len(columns) == 1 else self.several
        media = []
        for column in columns:
            cell = self.rows.picture_cell(record, column)
            media.append(Media(kind, picture_data(cell, column, self.media)))
        return media

    def is_open(self, record: Record) -> bool:
        """Whether the question has no options."""
        return text(record, "question_type") != "multiple-choice"

    def question(self, record: Record) -> str:
        if self.is_open(record):
            return f"{text(record, 'question')}\n\n{self.open_prompt}"
        options = [f"{letter}. {option}" for letter, option in self.lettered_options(record)]
        return "\n".join([text(record, "question"), *options, "", self.prompt])

    def options(self, record: Record) -> list[str]:
        options = read_list(record["options"])
        if not options:
            raise BadSample("no list", f"options is {str(record['options'])[:80]!r}; it must be a list of texts")
        return options

    def right_option(self, record: Record) -> int:
        return option_by_letter(record["answer"])

    def answer(self, record: Record) -> str:
        return self.true_answers(record)[0] if self.is_open(record) else super().answer(record)

    def true_answers(self, record: Record) -> list[str]:
        """The answers to an open question, of which any one is right."""
        return read_list(record["answer"]) or [text(record, "answer")]

    def score(self, record: Record, reply: str) -> dict[str, float]:
        if self.is_open(record):
            return {"accuracy": float(concludes(reply, self.true_answers(record)))}
        return super().score(record, reply)

    def chance(self, record: Record) -> float | None:
        return None if self.is_open(record) else super().chance(record)

    def group(self, record: Record) -> str:
        subject = "_".join(str(record["id"]).split("_")[1:-1])  # "validation_Art_Theory_7" -> "Art_Theory"
        for discipline, subjects in DISCIPLINES.items():
            if subject in subjects:
                return f"all/{discipline}"
        return "all/other"


def read_list(value: object) -> list[str]:
    """A list of texts, which the tables hold as a Python literal; empty for anything else."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return []
    return [str(part) for part in value] if isinstance(value, (list, tuple)) else []


def concludes(reply: str, truths: Sequence[str]) -> bool:
    """Whether one of the true answers stands in a conclusion of the reply, as a word or, to two decimals, a number."""
    conclusions = _conclusions(reply)
    numbers = set()
    for conclusion in conclusions:
        for digits in NUMBER.findall(conclusion):
            numbers.add(_number(digits))  # the conclusion may hold several
    for truth in truths:
        value = _number(truth)
        if value is not None:
            if value in numbers:
                return True
            continue
        word = re.compile(rf"(?<!\w){re.escape(truth.strip().lower())}(?!\w)")
        if any(word.search(conclusion) for conclusion in conclusions):
            return True
    return False


def _conclusions(reply: str) -> list[str]:
    """What each sentence or line of a reply concludes, in lower case; the whole reply where none concludes anything."""
    found = []
    for sentence in re.split(r"\.\s|\n", reply.strip().strip(".").lower()):  # not at the point of 3.14
        conclusion = _conclusion(sentence)
        if conclusion:
            found.append(conclusion)
    return found or [reply.strip().lower()]


def _conclusion(sentence: str) -> str:
    """What follows the last of the words that lead to a conclusion; empty without one."""
    shortest = ""
    for word in CONCLUSION_WORDS:
        if word not in sentence:
            continue
        rest = sentence.rsplit(word, 1)[1].strip()
        is_words = bool(rest.strip(":,.!?;'"))  # and not marks alone
        if is_words and (not shortest or len(rest) < len(shortest)):
            shortest = rest
    return shortest


def _number(text: str) -> float | None:
    """A number to two decimals, with commas between thousands; None for any other text."""
    try:
        return round(float(text.strip().replace(",", "")), 2)
    except ValueError:
        return None
