"""``interleave chat``: questions about pictures, videos and folders of frames in the terminal."""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ..core.errors import BadSample, InputError
from ..core.sample import Media, Message
from ..media.images import IMAGE_SUFFIXES
from ..processing.llava_records import PLACEHOLDER, fill_placeholders

if TYPE_CHECKING:
    from .lm import LM
    from .session import Session

PICTURE = "picture"
"""Kind of a picture for which no modality was named: ``with_modalities`` chooses it by how many pictures there are."""
VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v"})


def chat_command(arguments: Sequence[str]) -> None:
    """Answer the question where the command line has one, else converse until an empty line. Raises InputError."""
    options = _parser().parse_args(arguments)
    from .lm import load  # only now: --help needs no torch

    lm = load(options.model)
    media: list[Media] = []
    questions: list[str] = []
    for part in options.parts:
        piece = parse_media(part, lm)
        if piece is None:
            questions.append(part)
        else:
            media.append(piece)
    if len(questions) > 1:
        raise InputError(f"{questions[0]!r} is neither a picture, a video nor a folder, and the question stands last")
    generation = _generation(options)
    if questions:
        print_reply(lm.session(), user_message(questions[0], with_modalities(media, lm)), generation, Console())
    else:
        converse(lm, media, generation)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="interleave chat",
        description="Ask a model about pictures, videos and folders of frames.",
        epilog="A name of a modality in front of a path chooses it: multipatch:page.png, scene3d:views_folder. "
        f"{PLACEHOLDER} in the question is where the next visual is read; without one all stand in front.",
    )
    parser.add_argument("model", help="a run's folder")
    parser.add_argument("parts", nargs="*", metavar="PICTURE|VIDEO|QUESTION", help="media, and the question last")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="length of a reply (256)")
    parser.add_argument("--temperature", type=float, help="sample, the more freely the higher; greedy without")
    parser.add_argument("--top-p", type=float, help="sample from the likeliest tokens of this share")
    parser.add_argument("--top-k", type=int, help="sample from so many of the likeliest tokens")
    parser.add_argument("--beams", type=int, default=1, help="search so many replies at once; shown when done (1)")
    parser.add_argument("--seed", type=int, help="of sampling")
    parser.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; may be given again")
    return parser


def _generation(options: argparse.Namespace) -> dict[str, object]:
    """What the command line says of generation, in the terms of ``generation_options``."""
    given: dict[str, object] = {
        "max_new_tokens": options.max_new_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "top_k": options.top_k,
        "num_beams": options.beams,
        "seed": options.seed,
        "stop_strings": options.stop,
    }
    return {name: value for name, value in given.items() if value is not None}


def print_reply(session: "Session", turn: Message, generation: Mapping[str, object], console: Console) -> None:
    """Ask, and print the reply as it comes. Ctrl-C ends the reply, and the conversation goes on from what was said."""
    beams = generation.get("num_beams", 1)
    if isinstance(beams, int) and beams > 1:  # has no words to show until it is done
        console.print(session.ask(turn, **generation), markup=False, highlight=False)
        return
    with closing(session.stream(turn, **generation)) as pieces:  # closing keeps what was said until then
        try:
            for piece in pieces:
                console.print(piece, end="", markup=False, highlight=False, soft_wrap=True)
        except KeyboardInterrupt:
            pass
    console.print()


def parse_media(part: str, lm: "LM") -> Media | None:
    """A word of the command line as media: ``PATH`` or ``MODALITY:PATH``; None where it is neither, but text.

    A picture without a modality becomes a ``PICTURE``. Raises InputError for media that do not exist.
    """
    kind, colon, path = part.partition(":")
    if colon and kind in lm.adapters:  # any other colon is part of a path or of a question
        return Media(kind, _existing(path))
    # a folder holds the frames of a video
    if Path(part).is_dir() or Path(part).suffix.lower() in VIDEO_SUFFIXES:
        return Media("video", _existing(part))
    if Path(part).suffix.lower() in IMAGE_SUFFIXES:
        return Media(PICTURE, _existing(part))
    return None


def with_modalities(media: Sequence[Media], lm: "LM", num_shown: int = 0) -> list[Media]:
    """Media whose pictures have the modality in which the model was trained on them.

    A conversation's only picture may have another modality (tiles, as a rule) than each of several. num_shown: pictures
    that the conversation has shown already.
    """
    total = num_shown + count_pictures(media, lm)
    kind = lm.single_picture if total == 1 else "image"
    return [Media(kind, piece.data) if piece.kind == PICTURE else piece for piece in media]


def count_pictures(media: Sequence[Media], lm: "LM") -> int:
    """How many of the pieces are single pictures."""
    return sum(piece.kind in (PICTURE, "image", lm.single_picture) for piece in media)


def user_message(question: str, media: Sequence[Media]) -> Message:
    """The user's turn: each visual at its placeholder in the question, or all in front where it has none.

    Raises InputError where placeholders and media differ in number.
    """
    placeholders = question.count(PLACEHOLDER)
    if placeholders and placeholders != len(media):
        raise InputError(f"the question has {placeholders} {PLACEHOLDER} placeholders for {len(media)} pieces of media")
    text = question if placeholders else PLACEHOLDER * len(media) + question
    return Message("user", fill_placeholders(text, iter(media)))


def converse(lm: "LM", media: Sequence[Media], generation: Mapping[str, object]) -> None:
    """Ask what is typed, until an empty line. media: shown with the first question; paths may stand in any question.

    Media that cannot be used are named, and the conversation goes on without that question.
    """
    console, session = Console(), lm.session()
    num_shown = 0
    console.print("Ask; paths of pictures and videos may stand among the words. An empty line ends.", style="dim")
    while line := _read_line(console):
        text, named = _split_media(line, lm)
        if PLACEHOLDER in text:  # of a path or typed; media of the command line come before
            text = PLACEHOLDER * len(media) + text
        shown = [*media, *named]
        try:
            turn = user_message(text, with_modalities(shown, lm, num_shown))
            print_reply(session, turn, generation, console)
        except BadSample as bad:
            console.print(str(bad), style="yellow", markup=False)
            continue
        # only now: a question that failed has shown nothing
        num_shown += count_pictures(shown, lm)
        media = []  # they were shown


def _split_media(line: str, lm: "LM") -> tuple[str, list[Media]]:
    """A line with a placeholder for each path in it, and the media at these paths."""
    words: list[str] = []
    media: list[Media] = []
    for word in line.split(" "):  # not split(): several spaces stay as they are typed
        piece = _media_or_none(word, lm)
        words.append(word if piece is None else PLACEHOLDER)
        if piece is not None:
            media.append(piece)
    return " ".join(words), media


def _read_line(console: Console) -> str:
    """What is typed, without spaces around it; empty at the end of the input."""
    try:
        return console.input("> ").strip()
    except EOFError:
        return ""


def _media_or_none(word: str, lm: "LM") -> Media | None:
    """As ``parse_media``; a word that looks like a path of which nothing exists is text."""
    try:
        return parse_media(word, lm)
    except InputError:
        return None


def _existing(path: str) -> Path:
    if not Path(path).exists():
        raise InputError(f"{path} does not exist")
    return Path(path)
