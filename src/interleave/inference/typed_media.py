"""What is typed in a terminal to text and media: the only place that decides which words are paths."""

import re
from collections.abc import Container, Sequence
from pathlib import Path

from ..core.errors import InputError
from ..core.sample import Media
from ..media.file_kinds import OTHER_MEDIA_SUFFIXES, is_picture, is_video
from ..processing.llava_records import PLACEHOLDER

PICTURE = "picture"
"""Kind of a picture for which no modality was named: ``with_modalities`` chooses it by how many pictures there are."""

WORD = re.compile(r"""(?P<quote>["'])(?P<quoted>[^"']+)(?P=quote)|(?P<plain>(?:\\ |\S)+)""")
"""A word of a line: in quotes, or up to the next space. A terminal into which a file is dropped writes ``\\ `` for a
space in its name."""
AROUND = "()[]{}<>«»“”\"'`"
BEHIND = ".,;:!?…。！？，"


def parse_media(word: str, modalities: Container[str]) -> Media | None:
    """A word as media: ``PATH`` or ``MODALITY:PATH``; None where it is text.

    A path is media by its suffix, whether or not the file exists, so that a mistyped name is no question about nothing.
    A folder is media only behind a modality, and a word without dot and slash never is. A picture without a modality
    becomes a ``PICTURE``.

    Raises InputError for media that do not exist, and for a file of which no modality is known.
    """
    kind, colon, rest = word.partition(":")
    if colon and rest and kind in modalities:  # any other colon is part of a path or of a question
        path = Path(rest).expanduser()
        if not exists(path):
            raise InputError(f"{rest} does not exist")
        return Media(kind, path)
    path = Path(word).expanduser()
    if "/" in word and word.strip("./") and _is_folder(path):  # and no mere "/" or ".." of a sentence
        raise InputError(folder_hint(word))
    if not {".", "/", "\\"} & set(word) or word.startswith(("http://", "https://")):
        return None
    if not (is_picture(path) or is_video(path)):
        if path.suffix.lower() in OTHER_MEDIA_SUFFIXES or _is_file(path):
            raise InputError(
                f"{word} is a file of a kind that is not known here; put a modality in front (image:{word}) if one "
                "reads it, or quotes around it if it is text"
            )
        return None
    if not exists(path):
        raise InputError(f"{word} does not exist; write quotes around it if it is text")
    return Media("video" if is_video(path) else PICTURE, path)


def split_media(line: str, modalities: Container[str], given: Sequence[Media] = ()) -> tuple[str, list[Media]]:
    """A line with a placeholder for each piece of media that it names, all else as it is typed, and the media in order.

    given: media beside the line: at the placeholders that are typed in it, else in front.

    Marks around a path and behind it belong to the sentence. What stands in quotes is a path only where a file is
    there, so that any word can be said. Raises InputError as ``parse_media`` does.
    """
    found: list[Media] = []
    waiting = list(given)

    def replaced(word: re.Match[str]) -> str:
        if word["quoted"]:
            piece = parse_media(word["quoted"], modalities) if _is_file(Path(word["quoted"]).expanduser()) else None
            if piece is None:
                return word[0]
            found.append(piece)
            return PLACEHOLDER
        plain = word["plain"]
        if PLACEHOLDER in plain:
            for _ in range(min(plain.count(PLACEHOLDER), len(waiting))):
                found.append(waiting.pop(0))
            return word[0]
        path = plain.lstrip(AROUND).rstrip(AROUND + BEHIND)
        start = plain.find(path)
        piece = parse_media(path.replace("\\ ", " "), modalities) if path else None
        if piece is None:
            return word[0]
        found.append(piece)
        return plain[:start] + PLACEHOLDER + plain[start + len(path) :]

    text = WORD.sub(replaced, line)
    if PLACEHOLDER in text:  # else all stand in front as it is
        text = PLACEHOLDER * len(waiting) + text
    return text, [*waiting, *found]


def folder_hint(folder: str) -> str:
    """What is said of a folder without a modality."""
    return f"{folder} is a folder; put in front what it holds: video:{folder} for frames, scene3d:{folder} for views"


def exists(path: Path) -> bool:
    """Whether there is a file or a folder; False for what can be no path."""
    return _is_file(path) or _is_folder(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no disk takes
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
