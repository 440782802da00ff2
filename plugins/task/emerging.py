"""The demonstrations of emerging capabilities, on pictures and videos that the user has."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import yaml

from interleave import InputError, Media, Message, Sample, Task, load_frames, one_line, tasks

from ..dataset.base.record_fields import Record

DEMOS = files("interleave_plugins.task") / "emerging_demos.yaml"
REQUIRED = ("id", "kind", "prompt", "mentions")
"""Fields that each demonstration needs, besides ``images`` or ``videos``."""


@tasks.register("emerging")
class Emerging(Task):
    """Ten demonstrations of section 5 of the paper (one asks twice), to be read rather than scored: ``interleave
    report`` shows the replies of several models side by side. ``mentions`` is the share of words that a good reply
    would hardly do without.

    media: the folder of the demonstrations' files; one whose files are not there is named and left out.
    demos: another YAML file of the same form (``id``, ``kind``, ``images`` or ``videos``, ``prompt``, ``mentions``);
        null has the paper's.
    frames: how many frames of each video; several videos are shown one after another as one.
    image: the modality that takes each picture.
    video: the modality that takes a video.
    """

    generation: Mapping[str, object] = {"max_new_tokens": 512}

    def __init__(
        self, media: str, demos: str | None = None, frames: int = 8, image: str = "image", video: str = "video"
    ) -> None:
        self.media = Path(media)
        self.frames = frames
        self.image = image
        self.video = video
        self.all = read_demos(demos)

    def records(self) -> Sequence[Record]:
        return self.all

    def sample(self, record: Record) -> Sample:
        visuals = [Media(self.image, self.media / name) for name in _names(record, "images")]
        clips = [self.media / name for name in _names(record, "videos")]
        if len(clips) == 1:
            visuals.append(Media(self.video, clips[0]))
        elif clips:
            frames = []
            for clip in clips:
                frames.extend(load_frames(clip, self.frames)[0])
            visuals.append(Media(self.video, frames))
        return Sample([Message("user", [*visuals, str(record["prompt"])])], str(record["id"]), "emerging")

    def answer(self, record: Record) -> str:
        """There is no true answer: the first word that each pattern of ``mentions`` looks for."""
        words = []
        for pattern in _names(record, "mentions"):
            first = pattern.split("|")[0]
            words.append(re.sub(r"\\(.)", r"\1", first))  # without the escapes of a regular expression
        return " ".join(words)

    def score(self, record: Record, reply: str) -> dict[str, float]:
        found = [bool(re.search(pattern, reply, re.IGNORECASE)) for pattern in _names(record, "mentions")]
        return {"mentions": sum(found) / len(found)}

    def group(self, record: Record) -> str:
        return str(record["kind"])


def _names(record: Record, field: str) -> Sequence[str]:
    """A list of texts; empty where the record does not have the field."""
    names = record.get(field, ())
    assert isinstance(names, (list, tuple))
    return names


def read_demos(demos: str | None) -> list[Record]:
    """The demonstrations of a YAML file, or the paper's. Raises InputError for a file that does not have their form."""
    try:
        source = Path(demos).read_text(encoding="utf-8") if demos else DEMOS.read_text(encoding="utf-8")
        found = yaml.safe_load(source)
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"task.emerging.demos: {demos} cannot be read: {one_line(error)}") from None
    for number, demo in enumerate(found if isinstance(found, list) else [found]):
        fields = demo if isinstance(demo, dict) else {}
        absent = [name for name in REQUIRED if name not in fields]
        if absent or not fields["mentions"]:  # a score over no words would divide by zero
            raise InputError(f"task.emerging.demos: item {number} of {demos} has no {(absent or ['mentions'])[0]}")
    return list(found)
