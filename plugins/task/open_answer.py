"""Questions with a free answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from interleave import Sample, Task, read_json, sample_from_llava, tasks
from interleave.scoring import metrics


@tasks.register("open_answer")
class OpenAnswer(Task):
    """Token F1 and exact match as SQuAD defines them, without case, articles and punctuation.

    path: annotations as for ``dataset=llava_json``; the last answer of each record is the truth. media: the folder that
    its paths start from. single, several, video: as for ``dataset=llava_json``.
    """

    def __init__(
        self, path: str, media: str, single: str = "multipatch", several: str = "image", video: str = "video"
    ) -> None:
        self.media = media
        self.kinds = {"single": single, "several": several, "video": video}
        self.all = read_json(path)

    def records(self) -> Sequence[Mapping[str, Any]]:
        return self.all

    def sample(self, record: Mapping[str, Any]) -> Sample:
        sample_from_llava(record, self.media, self.kinds)  # a record without an answer cannot be scored
        return sample_from_llava(record, self.media, self.kinds, reply=True)

    def answer(self, record: Mapping[str, Any]) -> str:
        return str(record["conversations"][-1]["value"])

    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        truth = self.answer(record)
        return {"f1": metrics.token_f1(reply, truth), "exact_match": metrics.exact_match(reply, truth)}

    def group(self, record: Mapping[str, Any]) -> str:
        return str((record.get("metadata") or {}).get("dataset", "all"))
