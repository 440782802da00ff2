"""Questions with a free answer, from a file of one's own."""

from collections.abc import Sequence

from interleave import Sample, Task, metrics, read_json, sample_from_llava, tasks

from ..dataset.base.record_fields import Record, metadata_of, turns_of


@tasks.register("open_answer")
class OpenAnswer(Task):
    """Token F1 and exact match as SQuAD defines them, without case, articles and punctuation.

    path: annotations as for ``dataset=llava_json``; the last answer of each record is the truth.
    media: the folder that its paths start from.
    single: the modality that takes the picture of a record with one.
    several: the modality that takes each picture of a record with several.
    video: the modality that takes each video.
    """

    def __init__(
        self, path: str, media: str, single: str = "multipatch", several: str = "image", video: str = "video"
    ) -> None:
        self.media = media
        self.modalities = {"single": single, "several": several, "video": video}
        self.all = read_json(path)

    def records(self) -> Sequence[Record]:
        return self.all

    def sample(self, record: Record) -> Sample:
        sample_from_llava(record, self.media, self.modalities)  # raises BadSample for a record without an answer
        return sample_from_llava(record, self.media, self.modalities, reply=True)

    def answer(self, record: Record) -> str:
        return str(turns_of(record)[-1]["value"])

    def score(self, record: Record, reply: str) -> dict[str, float]:
        truth = self.answer(record)
        return {"f1": metrics.token_f1(reply, truth), "exact_match": metrics.exact_match(reply, truth)}

    def group(self, record: Record) -> str:
        return str(metadata_of(record).get("dataset", "all"))
