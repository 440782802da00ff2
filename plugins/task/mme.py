"""MME: fourteen kinds of perception and cognition, by two questions a picture."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from interleave import InputError, Scored, tasks

from ..dataset.huggingface import Row
from .base.question_tables import Form, Record, Rows, same_names, to_rows
from .base.questions import PHRASE_PROMPT, SHORT_REPLY, PictureQuestions, YesNoQuestions, text

COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
PERCEPTION = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR",
)  # fmt: skip
BEST: Mapping[str, float] = {"score": 2800, "perception": 2000, "cognition": 800}


@tasks.register("mme")
@dataclass(kw_only=True, eq=False)
class MME(PictureQuestions, YesNoQuestions):
    """The sum over fourteen kinds of accuracy and accuracy+, both in percent: at most 200 each and 2800 in all.

    Accuracy counts questions, accuracy+ pictures of which both questions were answered right; a picture of which only
    one was asked is none of them. ``perception`` and ``cognition`` are the sums of ten and of four kinds. Always yes
    scores 700, a guess 1050.

    Form: lmms-lab/MME, or the authors' folder with one folder a kind, whose text files hold a question and an answer a
    line, beside pictures of the same name or in ``questions_answers_YN`` beside ``images``; media is then the same
    folder. Prompt as in lmms-eval for LLaVA models, in place of the question's own "Please answer yes or no."
    """

    path: str = "lmms-lab/MME"
    prompt: str = PHRASE_PROMPT

    forms = (Form("lmms-lab/MME", same_names("question_id", "question", "answer", "image", "category")),)
    num_items = 2374
    generation = SHORT_REPLY
    best = BEST

    def read(self) -> Rows:
        root = Path(self.path)
        kinds = [name for name in (*PERCEPTION, *COGNITION) if (root / name).is_dir()]
        if not kinds:
            return super().read()
        table: list[Row] = []
        for name in kinds:
            table.extend(_rows_of_kind(root, name))
        return to_rows(table, self.path, self.forms)

    def question(self, record: Record) -> str:
        asked = text(record, "question").strip()
        return f"{asked.replace(' Please answer yes or no.', '')}\n{self.prompt}" if self.prompt else asked

    def group(self, record: Record) -> str:
        return f"all/{record['category']}"

    def chance(self, record: Record) -> float | None:
        """None: a guess is right half of the time, but the score is a sum of more than accuracy."""
        return None

    def unit(self, record: Record) -> str:
        return f"{record['category']}/{record['question_id']}"

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        kinds: dict[str, dict[str, list[float]]] = {}  # kind -> picture -> accuracy of each of its questions
        for item in scored:
            pictures = kinds.setdefault(str(item.record["category"]), {})
            pictures.setdefault(str(item.record["question_id"]), []).append(item.scores["accuracy"])
        accuracy: dict[str, float] = {}
        accuracy_plus: dict[str, float] = {}
        points: dict[str, float] = {}
        for kind, pairs in kinds.items():
            accuracy[kind] = fmean(score for pair in pairs.values() for score in pair)
            accuracy_plus[kind] = _accuracy_plus(pairs.values())
            points[kind] = 100 * (accuracy[kind] + accuracy_plus[kind])  # both in percent
        cognition = sum(score for kind, score in points.items() if kind in COGNITION)
        return {
            "score": sum(points.values()),
            "perception": sum(points.values()) - cognition,
            "cognition": cognition,
            "accuracy": fmean(accuracy.values()),
            "accuracy_plus": fmean(accuracy_plus.values()),
        }


def _accuracy_plus(pictures: Collection[Sequence[float]]) -> float:
    """The share of questions whose picture had two of them and no wrong answer: that of pictures, if all have two."""
    right = sum(len(scores) for scores in pictures if len(scores) > 1 and min(scores) == 1)
    return right / sum(map(len, pictures))


def _rows_of_kind(root: Path, name: str) -> Iterator[Row]:
    """The questions of one of the authors' folders. Raises InputError where it has none."""
    folder = root / name
    apart = (folder / "questions_answers_YN").is_dir()  # questions and pictures in folders of their own
    files = sorted((folder / "questions_answers_YN" if apart else folder).glob("*.txt"))
    pictures: dict[str, Path] = {}
    for path in (folder / "images" if apart else folder).iterdir():
        if path.suffix != ".txt":
            pictures[path.stem] = path
    if not files:
        raise InputError(f"{folder} has no text files with questions")
    for file in files:
        picture = pictures.get(file.stem)
        for line in file.read_text(encoding="utf-8").splitlines():
            question, _, answer = line.strip().partition("\t")
            yield {
                "question_id": f"{name}/{picture.name if picture else file.name}",
                "question": question,
                "answer": answer,
                "image": str(picture.relative_to(root)) if picture else None,
                "category": name,
            }
