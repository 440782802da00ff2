"""What the tasks on published question files share: rows, media, options, and the wordings of the LLaVA setting."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import ascii_uppercase
from typing import Any, ClassVar

from interleave import BadSample, InputError, Media, Message, Sample, Task
from interleave.scoring import metrics

from .question_tables import Form, Rows, load, named

Record = Mapping[str, Any]
LETTER = "Answer with the option's letter from the given choices directly."
PHRASE = "Answer the question using a single word or phrase."
SHORT: Mapping[str, Any] = {"max_new_tokens": 16}
PHRASES: Mapping[str, Any] = {"max_new_tokens": 64}
LONG: Mapping[str, Any] = {"max_new_tokens": 1024}


@dataclass(kw_only=True, eq=False)
class Questions(Task):
    """Rows of a table, each with a question about its own media.

    path: a file or a folder in a form that the class names, or a data set of the Hugging Face hub. subset, split: of
    the hub's data set or a copy of it; the split says also how many items there should be. media: the folder that paths
    in the rows start from. prompt: what follows the question.
    """

    path: str
    media: str
    subset: str | None = None
    split: str = "test"
    prompt: str = ""

    forms: ClassVar[Sequence[Form]]
    items: ClassVar[int]
    """How many the default split has."""

    def __post_init__(self) -> None:
        if not Path(self.media).is_dir():
            raise InputError(f"media={self.media} is no folder")
        self.rows = self.read()
        self.expected = self.whole() if self.split == type(self).split else None

    def read(self) -> Rows:
        return named(load(self.path, self.subset, self.split), self.path, self.forms)

    def whole(self) -> int:
        """How many items of the default split are asked."""
        return self.items

    def records(self) -> Sequence[Record]:
        return self.rows

    def sample(self, record: Record) -> Sample:
        self.answer(record)
        return Sample([Message("user", [*self.shown(record), "\n" + self.question(record)])], str(record["id"]))

    @abstractmethod
    def shown(self, record: Record) -> Sequence[Media]:
        """What stands in front of the question. Raises BadSample."""

    def question(self, record: Record) -> str:
        """The text that is asked."""
        return "\n".join(part for part in (text(record, "question"), self.prompt) if part)


@dataclass(kw_only=True, eq=False)
class Pictures(Questions):
    """Questions about one picture, in the row or as a path. single: the modality that takes it."""

    media: str = "."
    single: str = "multipatch"

    def shown(self, record: Record) -> Sequence[Media]:
        return [Media(self.single, picture(self.rows.held(record, "image"), "image", self.media))]


class Choices(Questions):
    """Questions with lettered options: accuracy of the letter that a reply chooses."""

    generation = SHORT

    def options(self, record: Record) -> list[str]:
        return texts(record, "options")

    def place(self, record: Record) -> int:
        """Of the right option, from 0; -1 where it cannot be told."""
        return numbered(record["answer"])

    def question(self, record: Record) -> str:
        options = (f"{letter}. {option}" for letter, option in zip(ascii_uppercase, self.options(record), strict=False))
        return "\n".join([text(record, "question"), *options, self.prompt])

    def answer(self, record: Record) -> str:
        place, count = self.place(record), len(self.options(record))
        if not 0 <= place < count:
            raise BadSample("answer", f"answer {record['answer']!r} is none of the {count} options")
        return ascii_uppercase[place]

    def score(self, record: Record, reply: str) -> dict[str, float]:
        letter = metrics.chosen_letter(reply, len(self.options(record)))
        return {"accuracy": float(letter == self.answer(record))}

    def chance(self, record: Record) -> float | None:
        return 1 / len(self.options(record))


class YesNo(Questions):
    """Questions to be answered with yes or no. A reply that says neither is wrong."""

    def answer(self, record: Record) -> str:
        answer = text(record, "answer").strip().rstrip(".").lower()
        if answer not in ("yes", "no"):
            raise BadSample("answer", f"answer {record['answer']!r} is neither yes nor no")
        return answer

    def score(self, record: Record, reply: str) -> dict[str, float]:
        return {"accuracy": float(metrics.yes_no(reply) == self.answer(record))}


def text(record: Record, name: str) -> str:
    """A column's text. Raises BadSample."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or not str(value).strip():
        raise BadSample("no text", f"{name} is {str(value)[:80]!r}; it must be text")
    return str(value)


def texts(record: Record, name: str) -> list[str]:
    """A column's list of texts, of which there must be one at least. Raises BadSample."""
    value = record.get(name)
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(part, str) for part in value):
        raise BadSample("no list", f"{name} is {str(value)[:80]!r}; it must be a list of texts")
    return list(value)


def numbered(answer: Any) -> int:
    """``2`` and ``"2"`` -> 2."""
    return int(answer) if str(answer).strip().isdecimal() and not isinstance(answer, bool) else -1


def lettered(answer: Any) -> int:
    """``B`` -> 1."""
    letter = str(answer).strip().upper()
    return ascii_uppercase.index(letter) if len(letter) == 1 and letter in ascii_uppercase else -1


def picture(value: Any, name: str, root: str) -> Path | bytes:
    """A picture's content where the column ``name`` holds it, else the file below ``root``. Raises BadSample."""
    if isinstance(value, dict):  # as tables of Hugging Face hold pictures
        value = value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes) else below(root, text({name: value}, name))


def below(root: str, name: str) -> Path:
    """A path of the rows. Raises BadSample where it leads out of the folder."""
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise BadSample("path outside media", f"{name} leads out of the media folder {root}")
    return Path(root, inside)
