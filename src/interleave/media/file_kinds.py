"""Which files are pictures or videos by their names, and in which order those of a folder are shown."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePath

IMAGE_SUFFIXES = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga",
})  # fmt: skip
"""Which files are pictures, in lower case: what Pillow reads, as far as pictures come in it."""
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".flv", ".wmv", ".ts", ".m2ts", ".mts", ".3gp",
    ".ogv", ".h264", ".hevc",
})  # fmt: skip
"""Which files are videos, in lower case."""
OTHER_MEDIA_SUFFIXES = frozenset({
    ".heic", ".heif", ".jxl", ".svg", ".psd", ".raw", ".dng", ".cr2", ".nef", ".arw", ".pdf", ".mp3", ".wav", ".flac",
    ".m4a", ".ogg",
})  # fmt: skip
"""Media that no modality opens, in lower case; a file with one of these is refused rather than read as text."""


def counting_order(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """A key that sorts names as people count: ``frame2`` before ``frame10``.

    Runs of digits compare as numbers, what stands between them as text. Names whose numbers all have the same length
    come in the order of their letters, in which published code shows frames.
    """
    parts: list[str | tuple[int, str]] = []
    for number, part in enumerate(re.split(r"([0-9]+)", name)):  # text and digits in turn, beginning with text
        digits = part.lstrip("0")
        parts.append((len(digits), digits) if number % 2 else part)  # as int() would, which ends at 4,300 digits
    return parts, name  # at last the name itself, since 1 and 01 are one number


def is_picture(path: PurePath) -> bool:
    """Whether a file is a picture by its name. What macOS writes beside each file on a foreign disk (``._NAME``) is
    none."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._")


def is_video(path: PurePath) -> bool:
    """Whether a file is a video by its name, as ``is_picture`` says it of pictures."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith("._")


def as_counted(paths: Iterable[Path]) -> list[Path]:
    """Files of one folder as people count them."""
    return sorted(paths, key=lambda path: counting_order(path.name))
