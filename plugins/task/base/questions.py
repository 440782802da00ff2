"""What the tasks on published question files share: rows, media, options, and the prompts of the LLaVA setting."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import ascii_uppercase
from typing import ClassVar

from interleave import BadSample, InputError, Media, Message, Sample, Task, metrics

from .question_tables import Form, Record, Rows, load_table, to_rows

# What LLaVA-1.5 was trained to follow, after options and after short questions.
LETTER_PROMPT = "Answer with the option's letter from the given choices directly."
PHRASE_PROMPT = "Answer the question using a single word or phrase."
# The most tokens of a reply, in the terms of Transformers' ``generate``.
SHORT_REPLY: Mapping[str, int] = {"max_new_tokens": 16}
PHRASE_REPLY: Mapping[str, int] = {"max_new_tokens": 64}
MEDIUM_REPLY: Mapping[str, int] = {"max_new_tokens": 128}
LONG_REPLY: Mapping[str, int] = {"max_new_tokens": 1024}


@dataclass(kw_only=True, eq=False)
class Questions(Task):
    """Rows of a table, each with a question about its own media.

    path: a file or a folder in a form that the class names, or a data set of the Hugging Face hub.
    media: the folder that paths in the rows start from.
    subset: of the hub's data set or a copy of it.
    split: of the hub's data set or a copy of it. How many items there should be is known of the default split only.
    prompt: what follows the question.
    """

    path: str
    media: str
    subset: str | None = None
    split: str = "test"
    prompt: str = ""

    forms: ClassVar[Sequence[Form]]
    """The forms that rows may have."""
    num_items: ClassVar[int]
    """How many items the default split has."""

    def __post_init__(self) -> None:
        if not Path(self.media).is_dir():
            raise InputError(f"media={self.media} is no folder")
        self.rows = self.read()
        default = type(self).split  # the class attribute is the dataclass field's default
        self.expected = self.num_expected() if self.split == default else None

    def read(self) -> Rows:
        """The items. Raises InputError."""
        return to_rows(load_table(self.path, self.subset, self.split), self.path, self.forms)

    def num_expected(self) -> int:
        """How many items of the default split the options choose."""
        return self.num_items

    def records(self) -> Sequence[Record]:
        return self.rows

    def sample(self, record: Record) -> Sample:
        self.answer(record)  # raises BadSample: what has no true answer is not asked
        text = "\n" + self.question(record)
        return Sample([Message("user", [*self.visuals(record), text])], str(record["id"]))

    @abstractmethod
    def visuals(self, record: Record) -> Sequence[Media]:
        """The media that stand in front of the question. Raises BadSample."""

    def question(self, record: Record) -> str:
        """The text that is asked. Raises BadSample."""
        question = text(record, "question")
        return f"{question}\n{self.prompt}" if self.prompt else question


@dataclass(kw_only=True, eq=False)
class PictureQuestions(Questions):
    """Questions about one picture, which the row holds or names by its path.

    single: the modality that takes it.
    """

    media: str = "."
    single: str = "multipatch"

    def visuals(self, record: Record) -> Sequence[Media]:
        return [Media(self.single, picture_data(self.rows.picture_cell(record, "image"), "image", self.media))]


class ChoiceQuestions(Questions):
    """Questions with lettered options: accuracy of the letter that a reply chooses."""

    generation = SHORT_REPLY

    def options(self, record: Record) -> list[str]:
        """The options in order, without letters unless the data has them. Raises BadSample."""
        return texts(record, "options")

    def right_option(self, record: Record) -> int:
        """The number of the right option, from 0; -1 where it cannot be told."""
        return option_by_number(record["answer"])

    def question(self, record: Record) -> str:
        options = [f"{letter}. {option}" for letter, option in self.lettered_options(record)]
        return "\n".join([text(record, "question"), *options, self.prompt])

    def lettered_options(self, record: Record) -> list[tuple[str, str]]:
        """Each option with its letter, from A to Z at most."""
        return list(zip(ascii_uppercase, self.options(record), strict=False))

    def answer(self, record: Record) -> str:
        number = self.right_option(record)
        count = len(self.options(record))
        if not 0 <= number < count:
            raise BadSample("answer", f"answer {record['answer']!r} is none of the {count} options")
        return ascii_uppercase[number]

    def score(self, record: Record, reply: str) -> dict[str, float]:
        letter = metrics.chosen_letter(reply, len(self.options(record)))
        return {"accuracy": float(letter == self.answer(record))}

    def chance(self, record: Record) -> float | None:
        return 1 / len(self.options(record))


class YesNoQuestions(Questions):
    """Questions to be answered with yes or no. A reply that says neither is wrong."""

    def answer(self, record: Record) -> str:
        answer = text(record, "answer").strip().rstrip(".").lower()
        if answer not in ("yes", "no"):
            raise BadSample("answer", f"answer {record['answer']!r} is neither yes nor no")
        return answer

    def score(self, record: Record, reply: str) -> dict[str, float]:
        return {"accuracy": float(metrics.yes_no(reply) == self.answer(record))}


def text(record: Record, name: str) -> str:
    """A column's text; numbers count as text. Raises BadSample."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or not str(value).strip():
        raise BadSample("no text", f"{name} is {str(value)[:80]!r}; it must be text")
    return str(value)


def texts(record: Record, name: str) -> list[str]:
    """A column's list of texts, which has at least one. Raises BadSample."""
    value = record.get(name)
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(part, str) for part in value):
        raise BadSample("no list", f"{name} is {str(value)[:80]!r}; it must be a list of texts")
    return list(value)


def option_by_number(answer: object) -> int:
    """``2`` or ``"2"`` -> 2; -1 for anything that is no number from 0."""
    number = str(answer).strip()
    return int(number) if number.isdecimal() else -1


def option_by_letter(answer: object) -> int:
    """``B`` or ``b`` -> 1; -1 for anything that is no letter."""
    letter = str(answer).strip().upper()
    return ascii_uppercase.index(letter) if len(letter) == 1 and letter in ascii_uppercase else -1


def picture_data(value: object, column: str, root: str) -> Path | bytes:
    """A picture's content where a cell holds it, else the file below ``root`` that it names.

    column: where the cell stands, for the error message.

    Raises BadSample.
    """
    if isinstance(value, dict):  # as tables of Hugging Face hold pictures
        value = value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes) else path_below(root, text({column: value}, column))


def path_below(root: str, name: str) -> Path:
    """A path that a row names. Raises BadSample where it leads out of the folder ``root``."""
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise BadSample("path outside media", f"{name} leads out of the media folder {root}")
    return Path(root, inside)
