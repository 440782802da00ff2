"""Preference pairs in the published form."""

from interleave import Dataset, Preference, datasets, read_json


@datasets.register("preference_json")
class PreferenceJson(Dataset):
    """A JSON list or JSONL of records with a question, ``chosen`` and ``rejected``, and ``image`` or ``video``.

    path: the file. media: the folder that its paths start from. single, several, video: which modality takes the
    picture of a record with one, each picture of a record with several, and each video. validation_path: a file of
    held-back pairs.
    """

    def __init__(
        self,
        path: str,
        media: str,
        single: str = "multipatch",
        several: str = "image",
        video: str = "video",
        validation_path: str | None = None,
    ) -> None:
        self.media, self.validation_path = media, validation_path
        self.kinds = {"single": single, "several": several, "video": video}
        self.all = read_json(path)

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, index: int) -> Preference:
        return Preference.from_record(self.all[index], self.media, self.kinds)

    def validation(self) -> Dataset | None:
        return PreferenceJson(self.validation_path, self.media, **self.kinds) if self.validation_path else None
