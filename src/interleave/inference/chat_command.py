"""Talking to a model in the terminal."""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..core.errors import BadSample, InputError
from ..core.sample import Media, Message
from ..media.images import IMAGE_SUFFIXES
from ..processing.llava_records import PLACEHOLDER, place

if TYPE_CHECKING:
    from .lm import LM
    from .session import Session

PICTURE = "picture"
"""In place of a modality, until it is known how many pictures there are."""
VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v"})


def chat_command(arguments: Sequence[str]) -> None:
    """One question where there is one, else a conversation until an empty line."""
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
    asked = parser.parse_args(arguments)
    from .lm import load  # only now: --help needs no torch

    lm = load(asked.model)
    media = [m for part in asked.parts if (m := as_media(part, lm)) is not None]
    questions = [part for part in asked.parts if as_media(part, lm) is None]
    if len(questions) > 1:
        raise InputError(f"{questions[0]!r} is neither a picture, a video nor a folder, and the question stands last")
    options = {
        "max_new_tokens": asked.max_new_tokens, "temperature": asked.temperature, "top_p": asked.top_p,
        "top_k": asked.top_k, "num_beams": asked.beams, "seed": asked.seed, "stop_strings": asked.stop,
    }  # fmt: skip
    generation = {name: value for name, value in options.items() if value is not None}
    if questions:
        say(lm.session(), ask(questions[0], shown(media, lm)), generation, Console())
    else:
        converse(lm, media, generation)


def say(session: "Session", turn: Message, generation: Mapping[str, Any], console: Console) -> None:
    """Print the reply as it comes. Ctrl-C ends the reply, and the conversation goes on from what was said."""
    if generation.get("num_beams", 1) > 1:
        console.print(session.ask(turn, **generation), markup=False, highlight=False)
        return
    with closing(session.stream(turn, **generation)) as pieces:
        try:
            for piece in pieces:
                console.print(piece, end="", markup=False, highlight=False, soft_wrap=True)
        except KeyboardInterrupt:
            pass
    console.print()


def as_media(part: str, lm: "LM") -> Media | None:
    """``PATH`` or ``MODALITY:PATH`` -> Media, a picture without modality as ``PICTURE``; None for what is text."""
    kind, colon, path = part.partition(":")
    if colon and kind in lm.adapters:
        return Media(kind, _existing(path))
    if Path(part).is_dir() or Path(part).suffix.lower() in VIDEO_SUFFIXES:
        return Media("video", _existing(part))
    if Path(part).suffix.lower() in IMAGE_SUFFIXES:
        return Media(PICTURE, _existing(part))
    return None


def shown(media: Sequence[Media], lm: "LM", before: int = 0) -> list[Media]:
    """Pictures in the modality in which the model was trained on them: one for a picture that is the only one, another
    for each of several. before: pictures that the conversation has shown already."""
    kind = lm.single_picture if before + pictures_among(media, lm) == 1 else "image"
    return [Media(kind, piece.data) if piece.kind == PICTURE else piece for piece in media]


def pictures_among(media: Sequence[Media], lm: "LM") -> int:
    return sum(piece.kind in (PICTURE, "image", lm.single_picture) for piece in media)


def ask(question: str, media: Sequence[Media]) -> Message:
    """The user's turn: visuals at their placeholders, or all in front."""
    found = question.count(PLACEHOLDER)
    if found and found != len(media):
        raise InputError(f"the question has {found} {PLACEHOLDER} placeholders for {len(media)} pieces of media")
    text = question if found else PLACEHOLDER * len(media) + question
    return Message("user", place(text, iter(media)))


def converse(lm: "LM", media: Sequence[Media], generation: Mapping[str, Any]) -> None:
    """Questions from the terminal; the media belong to the first one, and paths may stand in any."""
    console, session, pictures = Console(), lm.session(), 0
    console.print("Ask; paths of pictures and videos may stand among the words. An empty line ends.", style="dim")
    while text := _line(console):
        words = text.split(" ")
        named = [*media, *(m for w in words if (m := _readable(w, lm)) is not None)]
        question = " ".join(PLACEHOLDER if _readable(w, lm) is not None else w for w in words)
        if PLACEHOLDER in question:
            question = PLACEHOLDER * len(media) + question
        try:
            say(session, ask(question, shown(named, lm, before=pictures)), generation, console)
        except BadSample as bad:
            console.print(str(bad), style="yellow", markup=False)
            continue
        pictures += pictures_among(named, lm)
        media = []


def _line(console: Console) -> str:
    try:
        return console.input("> ").strip()
    except EOFError:
        return ""


def _readable(word: str, lm: "LM") -> Media | None:
    try:
        return as_media(word, lm)
    except InputError:
        return None


def _existing(path: str) -> Path:
    if not Path(path).exists():
        raise InputError(f"{path} does not exist")
    return Path(path)
