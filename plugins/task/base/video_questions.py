"""Questions about videos: the only place that finds a video by the name that question files have for it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from interleave import BadSample, Media

from .questions import Questions, Record, below, text

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif")
PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(kw_only=True, eq=False)
class Videos(Questions):
    """Questions about one video each.

    media: a folder of video files or of folders of frames, at any depth. A video is found by its name, whatever its
    suffix. video: the modality that takes it.
    """

    video: str = "video"

    before: ClassVar[Sequence[str]] = ("",)
    """What file names may have in front of the name in the rows."""

    def shown(self, record: Record) -> Sequence[Media]:
        return [Media(self.video, self.find(text(record, "video")))]

    def find(self, name: str) -> Path:
        """Raises BadSample."""
        for start in self.before:
            for suffix in ("", *SUFFIXES, *map(str.upper, SUFFIXES)):
                path = below(self.media, f"{start}{name}{suffix}")
                if path.exists():
                    return path
        stem = name.rpartition("/")[2]
        stem = stem.rpartition(".")[0] if stem.lower().endswith(SUFFIXES) else stem
        for start in self.before:
            if start + stem in self.everywhere:
                return self.everywhere[start + stem]
        raise BadSample(
            "missing file", f"no video {name} in {self.media}, neither a file ({', '.join(SUFFIXES)}) nor a folder"
        )

    @cached_property
    def everywhere(self) -> dict[str, Path]:
        """Video files and folders of frames below the media folder by name; of several the first."""
        found: dict[str, Path] = {}
        for folder, inside, files in os.walk(self.media, followlinks=True):
            inside.sort()
            if any(file.lower().endswith(PICTURES) for file in files):
                inside.clear()
                found.setdefault(Path(folder).name, Path(folder))
            for file in sorted(files):
                if file.lower().endswith(SUFFIXES):
                    found.setdefault(Path(file).stem, Path(folder, file))
        return found
