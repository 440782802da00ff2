"""Questions about videos: the only place that finds a video by the name that question files have for it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from interleave import VIDEO_SUFFIXES, BadSample, Media, is_picture

from .question_tables import Record
from .questions import Questions, path_below, text

SUFFIXES = (*sorted(VIDEO_SUFFIXES), ".gif")
"""Of the files that a video is looked for under; some benchmarks have animated pictures."""


@dataclass(kw_only=True, eq=False)
class VideoQuestions(Questions):
    """Questions about one video each.

    media: a folder of video files or of folders of frames, at any depth. A video is found by its name, whatever its
        suffix.
    video: the modality that takes it.
    """

    video: str = "video"

    name_prefixes: ClassVar[Sequence[str]] = ("",)
    """What file names may have in front of the name in the rows, in the order in which they are tried."""

    def visuals(self, record: Record) -> Sequence[Media]:
        return [Media(self.video, self.find_video(text(record, "video")))]

    def find_video(self, name: str) -> Path:
        """A video file or a folder of frames: at the path ``name`` with any suffix, else by its last part anywhere
        below the media folder. Raises BadSample.
        """
        suffixes = ("", *SUFFIXES, *map(str.upper, SUFFIXES))
        for prefix in self.name_prefixes:
            for suffix in suffixes:
                path = path_below(self.media, f"{prefix}{name}{suffix}")
                if path.exists():
                    return path
        # Not there by its path: anywhere below the folder, by its last part without suffix.
        stem = name.rpartition("/")[2]
        if stem.lower().endswith(SUFFIXES):
            stem = stem.rpartition(".")[0]
        for prefix in self.name_prefixes:
            if prefix + stem in self.videos_by_name:
                return self.videos_by_name[prefix + stem]
        raise BadSample(
            "missing file",
            f"no video {name} in {self.media}, neither a file ({', '.join(SUFFIXES)}) nor a folder",
        )

    @cached_property
    def videos_by_name(self) -> dict[str, Path]:
        """Video files (without suffix) and folders of frames below the media folder; of equal names the first."""
        found: dict[str, Path] = {}
        for folder, inside, files in os.walk(self.media, followlinks=True):
            inside.sort()  # in place: os.walk goes on in this order
            if any(is_picture(Path(file)) for file in files if not file.lower().endswith(".gif")):
                inside.clear()  # nothing is looked for within a folder of frames
                found.setdefault(Path(folder).name, Path(folder))
            for file in sorted(files):
                if file.lower().endswith(SUFFIXES):
                    found.setdefault(Path(file).stem, Path(folder, file))
        return found
