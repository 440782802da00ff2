"""The demonstrations of emerging capabilities, on pictures and videos that the user has."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from interleave import InputError, Media, Message, Sample, Task, load_frames, tasks

DEMOS = files("interleave_plugins.task") / "emerging_demos.yaml"


@tasks.register("emerging")
class Emerging(Task):
    """Ten demonstrations of section 5 of the paper (one asks twice), to be read rather than scored: ``interleave
    report`` shows the replies of several models side by side. ``mentions`` is the share of words that a good reply
    would hardly do without.

    media: the folder of the demonstrations' files; one whose files are not there is named and left out. demos: another
    YAML file of the same form (``id``, ``kind``, ``images`` or ``videos``, ``prompt``, ``mentions``); null has the
    paper's. frames: of each video; several videos are shown one after another as one. image, video: the modalities.
    """

    generation: Mapping[str, Any] = {"max_new_tokens": 512}

    def __init__(
        self, media: str, demos: str | None = None, frames: int = 8, image: str = "image", video: str = "video"
    ) -> None:
        self.media, self.frames, self.image, self.video = Path(media), frames, image, video
        self.all: list[dict[str, Any]] = read(demos)

    def records(self) -> Sequence[Mapping[str, Any]]:
        return self.all

    def sample(self, record: Mapping[str, Any]) -> Sample:
        shown = [Media(self.image, self.media / name) for name in record.get("images", ())]
        clips = [self.media / name for name in record.get("videos", ())]
        if len(clips) > 1:
            frames = [frame for clip in clips for frame in load_frames(clip, self.frames)[0]]
            shown.append(Media(self.video, frames))
        shown += [Media(self.video, clip) for clip in clips if len(clips) == 1]
        return Sample([Message("user", [*shown, record["prompt"]])], record["id"], "emerging")

    def answer(self, record: Mapping[str, Any]) -> str:
        """There is none: words that the patterns look for."""
        return " ".join(re.sub(r"\\(.)", r"\1", pattern.split("|")[0]) for pattern in record["mentions"])

    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        found = [bool(re.search(pattern, reply, re.IGNORECASE)) for pattern in record["mentions"]]
        return {"mentions": sum(found) / len(found)}

    def group(self, record: Mapping[str, Any]) -> str:
        return str(record["kind"])


def read(demos: str | None) -> list[dict[str, Any]]:
    """Raises InputError for a file that has not this form."""
    try:
        found = yaml.safe_load(Path(demos).read_text(encoding="utf-8") if demos else DEMOS.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"task.emerging.demos: {demos} cannot be read: {' '.join(str(error).split())}") from None
    for number, demo in enumerate(found if isinstance(found, list) else [found]):
        absent = [key for key in ("id", "kind", "prompt", "mentions") if not isinstance(demo, dict) or key not in demo]
        if absent or not demo["mentions"]:
            raise InputError(f"task.emerging.demos: item {number} of {demos} has no {(absent or ['mentions'])[0]}")
    return list(found)
