"""MMMU: questions of college courses, with up to seven pictures among the text."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from interleave import BadSample, Media, Message, Sample, tasks

from .base.question_tables import Form, same
from .base.questions import LETTER, PHRASE, SHORT, Choices, Pictures, Record, lettered, picture, text

FIELDS = {
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
FIELD_OF = {subject: field for field, subjects in FIELDS.items() for subject in subjects}
MARK = re.compile(r"<image (\d)>")
NUMBER = re.compile(r"-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?")
LEADS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ", "=")


@tasks.register("mmmu")
@dataclass(kw_only=True, eq=False)
class MMMU(Pictures, Choices):
    """Accuracy of options and of free answers together; groups by discipline.

    A free answer is right where the truth stands in what the reply concludes, or equals a number in it to two decimals,
    as the authors compare. A reply that chooses no option is wrong; the authors' script guesses one there.

    Form: the validation split of lmms-lab/MMMU, which holds the authors' thirty subjects. single and several: the
    modalities that take one picture of a question, or each of several. interleaved: pictures stand where the text names
    them; else all stand in front and the text keeps its names for them, as in lmms-eval for LLaVA models. prompt: after
    options; open_prompt: after a question without.
    """

    path: str = "lmms-lab/MMMU"
    split: str = "validation"
    several: str = "image"
    prompt: str = LETTER
    open_prompt: str = PHRASE
    interleaved: bool = False

    forms = (Form("MMMU", same("id", "question", "options", "answer", "question_type", "image_1"), ("id",)),)
    items = 900
    generation = SHORT

    def sample(self, record: Record) -> Sample:
        asked = self.question(record)
        if not self.interleaved or not MARK.search(asked):
            return super().sample(record)
        self.answer(record)
        media = dict(zip(self.names(record), self.shown(record), strict=True))
        parts: list[str | Media] = [
            media[f"image_{part}"] if i % 2 else part for i, part in enumerate(MARK.split(asked)) if i % 2 or part
        ]
        return Sample([Message("user", parts)], str(record["id"]))

    def names(self, record: Record) -> list[str]:
        """The columns of the pictures that the text names; the first one where it names none."""
        return sorted({f"image_{number}" for number in MARK.findall(self.question(record))}) or ["image_1"]

    def shown(self, record: Record) -> Sequence[Media]:
        names = self.names(record)
        kind = self.single if len(names) == 1 else self.several
        return [Media(kind, picture(self.rows.held(record, name), name, self.media)) for name in names]

    def is_open(self, record: Record) -> bool:
        return text(record, "question_type") != "multiple-choice"

    def question(self, record: Record) -> str:
        if self.is_open(record):
            return f"{text(record, 'question')}\n\n{self.open_prompt}"
        options = zip(ascii_uppercase, self.options(record), strict=False)
        return "\n".join([text(record, "question"), *(f"{a}. {option}" for a, option in options), "", self.prompt])

    def options(self, record: Record) -> list[str]:
        options = listed(record["options"])
        if not options:
            raise BadSample("no list", f"options is {str(record['options'])[:80]!r}; it must be a list of texts")
        return options

    def place(self, record: Record) -> int:
        return lettered(record["answer"])

    def answer(self, record: Record) -> str:
        return self.truths(record)[0] if self.is_open(record) else super().answer(record)

    def truths(self, record: Record) -> list[str]:
        return listed(record["answer"]) or [text(record, "answer")]

    def score(self, record: Record, reply: str) -> dict[str, float]:
        if self.is_open(record):
            return {"accuracy": float(concludes(reply, self.truths(record)))}
        return super().score(record, reply)

    def chance(self, record: Record) -> float | None:
        return None if self.is_open(record) else super().chance(record)

    def group(self, record: Record) -> str:
        subject = "_".join(str(record["id"]).split("_")[1:-1])
        return f"all/{FIELD_OF.get(subject, 'other')}"


def listed(value: object) -> list[str]:
    """A list of texts, which the tables hold as Python writes it; empty for anything else."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return []
    return [str(part) for part in value] if isinstance(value, (list, tuple)) else []


def concludes(reply: str, truths: Sequence[str]) -> bool:
    """Whether a reply ends at one of the truths."""
    ends = [end for line in re.split(r"\.\s|\n", reply.strip().strip(".").lower()) if (end := _end(line))]
    said = ends or [reply.strip().lower()]
    numbers = {value for end in said for found in NUMBER.findall(end) if (value := _number(found)) is not None}
    for truth in truths:
        value, plain = _number(truth), truth.strip().lower()
        if value is not None and value in numbers:
            return True
        if value is None and any(re.search(rf"(?<!\w){re.escape(plain)}(?!\w)", end) for end in said):
            return True
    return False


def _end(line: str) -> str:
    """What follows the last word that leads to a conclusion; empty without one."""
    ends = [line.rsplit(lead, 1)[1].strip() for lead in LEADS if lead in line]
    return min((end for end in ends if end.strip(":,.!?;'")), key=len, default="")


def _number(text: str) -> float | None:
    try:
        return round(float(text.strip().replace(",", "")), 2)
    except ValueError:
        return None
