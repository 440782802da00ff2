"""Annotation files in the form of LLaVA and M4-Instruct."""

from pathlib import Path

from interleave import Dataset, InputError, Preference, Records, Sample, datasets, sample_from_llava

from .base.record_fields import id_of


@datasets.register("llava_json")
class LlavaJson(Dataset):
    """A JSON list or JSONL of records with ``conversations`` and ``image`` or ``video``.

    path: the annotation file.
    media: the folder that the paths in it start from.
    single: the modality that takes the picture of a record with one.
    several: the modality that takes each picture of a record with several; ``scene3d`` reads all of them as the views
        of one scene.
    video: the modality that takes each video.
    validation_path: an annotation file of records held back from training; null has none.
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
        self.media = media
        self.validation_path = validation_path
        self.single_picture = single
        self.modalities = {"single": single, "several": several, "video": video}
        self.all = Records([path])

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, index: int) -> Sample | Preference:
        return sample_from_llava(self.all[index], self.media, self.modalities)

    def id(self, index: int) -> str:
        return id_of(self.all[index], index)

    def validation(self) -> Dataset | None:
        return type(self)(self.validation_path, self.media, **self.modalities) if self.validation_path else None
