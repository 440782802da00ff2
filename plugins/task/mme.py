"""MME: fourteen kinds of perception and cognition, by two questions a picture."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from interleave import InputError, Scored, tasks

from .base.question_tables import Form, Row, Rows, named, same
from .base.questions import PHRASE, SHORT, Pictures, Record, YesNo, text

COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
PERCEPTION = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR",
)  # fmt: skip
BEST: Mapping[str, float] = {"score": 2800, "perception": 2000, "cognition": 800}


@tasks.register("mme")
@dataclass(kw_only=True, eq=False)
class MME(Pictures, YesNo):
    """The sum over fourteen kinds of accuracy and accuracy+, both in percent: at most 200 each and 2800 in all.

    Accuracy counts questions, accuracy+ pictures of which both questions were answered right; a picture of which only
    one was asked is none of them. ``perception`` and ``cognition`` are the sums of ten and of four kinds. Always yes
    scores 700, a guess 1050.

    Form: lmms-lab/MME, or the authors' folder with one folder a kind, whose text files hold a question and an answer a
    line, beside pictures of the same name or in ``questions_answers_YN`` beside ``images``; media is then the same
    folder. Prompt as in lmms-eval for LLaVA models, in place of the question's own "Please answer yes or no."
    """

    path: str = "lmms-lab/MME"
    prompt: str = PHRASE

    forms = (Form("lmms-lab/MME", same("question_id", "question", "answer", "image", "category")),)
    items = 2374
    generation = SHORT
    best = BEST

    def read(self) -> Rows:
        kinds = [name for name in (*PERCEPTION, *COGNITION) if Path(self.path, name).is_dir()]
        if not kinds:
            return super().read()
        return named([row for name in kinds for row in _kind(Path(self.path), name)], self.path, self.forms)

    def question(self, record: Record) -> str:
        asked = text(record, "question").strip()
        return f"{asked.replace(' Please answer yes or no.', '')}\n{self.prompt}" if self.prompt else asked

    def group(self, record: Record) -> str:
        return f"all/{record['category']}"

    def chance(self, record: Record) -> float | None:
        """None: it is known of accuracy, and the score is a sum of more."""
        return None

    def unit(self, record: Record) -> str:
        return f"{record['category']}/{record['question_id']}"

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        kinds: dict[str, dict[str, list[float]]] = {}
        for item in scored:
            pictures = kinds.setdefault(str(item.record["category"]), {})
            pictures.setdefault(str(item.record["question_id"]), []).append(item.scores["accuracy"])
        accuracy = {kind: fmean(score for pair in pairs.values() for score in pair) for kind, pairs in kinds.items()}
        both = {kind: _both(pairs.values()) for kind, pairs in kinds.items()}
        sums = {kind: 100 * (accuracy[kind] + both[kind]) for kind in kinds}
        cognition = sum(score for kind, score in sums.items() if kind in COGNITION)
        return {
            "score": sum(sums.values()),
            "perception": sum(sums.values()) - cognition,
            "cognition": cognition,
            "accuracy": fmean(accuracy.values()),
            "accuracy_plus": fmean(both.values()),
        }


def _both(pictures: Collection[Sequence[float]]) -> float:
    """The share of questions whose picture had two of them and no wrong answer: that of pictures, if all have two."""
    right = sum(len(scores) for scores in pictures if len(scores) > 1 and min(scores) == 1)
    return right / sum(map(len, pictures))


def _kind(root: Path, name: str) -> Iterator[Row]:
    """The rows of one of the authors' folders."""
    apart = Path(root, name, "questions_answers_YN").is_dir()
    texts = sorted(Path(root, name, "questions_answers_YN" if apart else "").glob("*.txt"))
    pictures = {p.stem: p for p in Path(root, name, "images" if apart else "").iterdir() if p.suffix != ".txt"}
    if not texts:
        raise InputError(f"{root / name} has no text files with questions")
    for file in texts:
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
