"""Annotation files in the form of LLaVA and M4-Instruct."""

from pathlib import Path

from interleave import Dataset, InputError, Preference, Records, Sample, datasets, sample_from_llava


@datasets.register("llava_json")
class LlavaJson(Dataset):
    """A JSON list or JSONL of records with ``conversations`` and ``image`` or ``video``.

    path: the annotation file. media: the folder that its paths start from. single, several, video: which modality
    takes the picture of a record with one, each picture of a record with several, and each video; ``several=scene3d``
    reads all pictures of a record as views of one scene. validation_path: a file of held-back records.
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
        if not Path(media).is_dir():
            raise InputError(f"the media folder {media} does not exist; paths in {path} start from it")
        self.media, self.validation_path = media, validation_path
        self.single_picture = single
        self.kinds = {"single": single, "several": several, "video": video}
        self.all = Records([path])

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, index: int) -> Sample | Preference:
        return sample_from_llava(self.all[index], self.media, self.kinds)

    def id(self, index: int) -> str:
        record = self.all[index]
        return str(record.get("sample_id", record.get("id", index)))

    def validation(self) -> Dataset | None:
        return type(self)(self.validation_path, self.media, **self.kinds) if self.validation_path else None
