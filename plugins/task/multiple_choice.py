"""Questions with lettered options."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from interleave import BadSample, Sample, Task, read_json, sample_from_llava, tasks
from interleave.scoring import metrics


@tasks.register("multiple_choice")
class MultipleChoice(Task):
    """Accuracy of the letter that a reply begins with or names alone.

    path: a JSON list or JSONL of ``{"question", "choices": [...], "answer": letter or number, "image", "video" or
    "scene"}``, and optionally ``id`` and ``group``. media: the folder that its paths start from. single, several,
    video: as for ``dataset=llava_json``. prompt: what follows the options.
    """

    generation: Mapping[str, Any] = {"max_new_tokens": 16}

    def __init__(
        self,
        path: str,
        media: str,
        single: str = "multipatch",
        several: str = "image",
        video: str = "video",
        prompt: str = "Answer with the option's letter from the given choices directly.",
    ) -> None:
        self.media, self.prompt = media, prompt
        self.kinds = {"single": single, "several": several, "video": video}
        self.all = read_json(path)

    def records(self) -> Sequence[Mapping[str, Any]]:
        return self.all

    def sample(self, record: Mapping[str, Any]) -> Sample:
        self.answer(record)
        options = "\n".join(
            f"{letter}. {text}" for letter, text in zip(ascii_uppercase, record["choices"], strict=False)
        )
        question = with_placeholders(record, self.kinds)
        text = f"{question}\n{options}\n{self.prompt}"
        asked = {**record, "conversations": [{"from": "human", "value": text}]}
        return sample_from_llava(asked, self.media, self.kinds, reply=True)

    def answer(self, record: Mapping[str, Any]) -> str:
        choices, answer = record.get("choices") or [], record.get("answer")
        letter = (
            ascii_uppercase[answer] if isinstance(answer, int) and 0 <= answer < 26 else str(answer).strip().upper()
        )
        if letter not in list(ascii_uppercase[: len(choices)]):
            raise BadSample("answer", f"answer {answer!r} is none of the {len(choices)} choices")
        return letter

    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        return {"accuracy": float(metrics.chosen_letter(reply, len(record["choices"])) == self.answer(record))}

    def group(self, record: Mapping[str, Any]) -> str:
        return str(record.get("group", "all"))

    def chance(self, record: Mapping[str, Any]) -> float | None:
        return 1 / len(record["choices"])


def with_placeholders(record: Mapping[str, Any], kinds: Mapping[str, str]) -> str:
    """The question; where it places no visuals itself, all of them stand in front."""
    question, images = str(record.get("question", "")), record.get("image") or []
    if "<image>" in question:
        return question
    several = 1 if isinstance(images, str) else len(images)
    shared = several > 1 and kinds["several"] == "scene3d"
    others = [record.get(key) or [] for key in ("video", "scene")]
    count = (1 if shared else several) + sum(1 if isinstance(given, (str, dict)) else len(given) for given in others)
    return "<image>" * count + ("\n" if count else "") + question
