"""Questions with lettered options, from a file of one's own."""

from collections.abc import Mapping, Sequence, Sized
from string import ascii_uppercase

from interleave import BadSample, Sample, Task, metrics, read_json, sample_from_llava, tasks

from ..dataset.base.record_fields import PLACEHOLDER, Record


@tasks.register("multiple_choice")
class MultipleChoice(Task):
    """Accuracy of the letter that a reply begins with or names alone.

    path: a JSON list or JSONL of ``{"question", "choices": [...], "answer": letter or number, "image", "video" or
        "scene"}``, and optionally ``id`` and ``group``.
    media: the folder that its paths start from.
    single: the modality that takes the picture of a record with one.
    several: the modality that takes each picture of a record with several.
    video: the modality that takes each video.
    prompt: what follows the options.
    """

    generation: Mapping[str, object] = {"max_new_tokens": 16}

    def __init__(
        self,
        path: str,
        media: str,
        single: str = "multipatch",
        several: str = "image",
        video: str = "video",
        prompt: str = "Answer with the option's letter from the given choices directly.",
    ) -> None:
        self.media = media
        self.prompt = prompt
        self.modalities = {"single": single, "several": several, "video": video}
        self.all = read_json(path)

    def records(self) -> Sequence[Record]:
        return self.all

    def sample(self, record: Record) -> Sample:
        self.answer(record)  # raises BadSample: what has no true answer is not asked
        options = [f"{letter}. {text}" for letter, text in zip(ascii_uppercase, _choices(record), strict=False)]
        question = with_placeholders(record, self.modalities)
        text = "\n".join([question, *options, self.prompt])
        asked = {**record, "conversations": [{"from": "human", "value": text}]}
        return sample_from_llava(asked, self.media, self.modalities, reply=True)

    def answer(self, record: Record) -> str:
        count = len(_choices(record))
        answer = record.get("answer")
        if isinstance(answer, int) and 0 <= answer < len(ascii_uppercase):
            letter = ascii_uppercase[answer]
        else:
            letter = str(answer).strip().upper()
        if letter not in list(ascii_uppercase[:count]):
            raise BadSample("answer", f"answer {answer!r} is none of the {count} choices")
        return letter

    def score(self, record: Record, reply: str) -> dict[str, float]:
        letter = metrics.chosen_letter(reply, len(_choices(record)))
        return {"accuracy": float(letter == self.answer(record))}

    def group(self, record: Record) -> str:
        return str(record.get("group", "all"))

    def chance(self, record: Record) -> float | None:
        return 1 / len(_choices(record))


def _choices(record: Record) -> Sequence[object]:
    """The options in order; empty where the record has none."""
    choices = record.get("choices")
    return choices if isinstance(choices, Sequence) else []


def with_placeholders(record: Record, modalities: Mapping[str, str]) -> str:
    """The question; where it places no visuals itself, all of them stand in front."""
    question = str(record.get("question", ""))
    if PLACEHOLDER in question:
        return question
    images = _count_pieces(record.get("image"), (str,))
    if images > 1 and modalities["several"] == "scene3d":
        images = 1  # all of them are views of one scene
    videos = _count_pieces(record.get("video"), (str, dict))  # a list is several
    scenes = _count_pieces(record.get("scene"), (str, dict))
    count = images + videos + scenes
    return PLACEHOLDER * count + ("\n" if count else "") + question


def _count_pieces(value: object, single: tuple[type, ...]) -> int:
    """How many pieces of media a field names. single: the types of a value that is one piece, and no list."""
    if not value:
        return 0
    if isinstance(value, single):
        return 1
    assert isinstance(value, Sized)
    return len(value)
