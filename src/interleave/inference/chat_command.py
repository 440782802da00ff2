"""``interleave chat``: questions about pictures, videos and folders of frames in the terminal."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ..core.errors import InputError, hint
from ..core.sample import Media, Message
from ..processing.llava_records import PLACEHOLDER, fill_placeholders
from .typed_media import PICTURE, exists, folder_hint, parse_media, split_media

if TYPE_CHECKING:
    from .lm import LM
    from .session import Session

HELP = """\
Ask; paths of pictures and videos may stand among the words, in quotes where they have spaces, and MODALITY:PATH names \
what reads a path. /undo takes the last question back, /clear begins a new conversation, /help says this again. /exit \
or an empty line ends; Ctrl-C stops a reply."""


def chat_command(arguments: Sequence[str]) -> None:
    """Answer the question where the command line has one, else converse until an empty line. Raises InputError."""
    options = _parser().parse_args(arguments)
    from .lm import load  # only now: --help needs no torch

    lm = load(options.model)
    media: list[Media] = []
    questions: list[str] = []
    for part in options.parts:
        is_word = exists(Path(part)) or not re.search(r"\s", part)
        piece = parse_media(part, lm.adapters) if is_word else None
        if piece is not None:
            media.append(piece)
        elif exists(Path(part)):
            raise InputError(folder_hint(part))
        else:
            questions.append(part)
    if len(questions) > 1:
        raise InputError(f"{questions[0]!r} is neither a picture nor a video, and the question stands last")
    generation = _generation(options)
    if questions:
        session = lm.session()
        print_reply(session, _asked(questions[0], media, lm, session), generation, Console())
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

    What cannot be used is named, and the conversation goes on without that question. Media of the command line are
    then given up, since they would spoil every question that follows.
    """
    with suppress(ImportError):  # not on Windows
        import readline  # noqa: F401 (it gives ``input`` its history and keys)
    console, session = Console(), lm.session()
    console.print(HELP, style="dim", markup=False)
    while line := _read_line(console):
        if line in CHAT_COMMANDS:
            if not CHAT_COMMANDS[line](session, console):
                return
            continue
        if re.fullmatch(r"/\w+", line) and not exists(Path(line)):
            console.print(f"there is no command {line}{hint(line, CHAT_COMMANDS)}", style="yellow", markup=False)
            continue
        try:
            turn = _asked(line, media, lm, session)
            print_reply(session, turn, generation, console)
        except InputError as error:
            given_up = f" (without {', '.join(str(piece.data) for piece in media)} from now on)" if media else ""
            console.print(f"{error}{given_up}", style="yellow", markup=False, soft_wrap=True)
        media = []  # they were shown


def _asked(line: str, media: Sequence[Media], lm: "LM", session: "Session") -> Message:
    """The user's turn of a line. media: of the command line. Raises InputError."""
    text, shown = split_media(line, lm.adapters, media)
    parts = [part for message in session.messages for part in message.content]
    num_shown = count_pictures([part for part in parts if isinstance(part, Media)], lm)
    return user_message(text, with_modalities(shown, lm, num_shown))


def _help(session: "Session", console: Console) -> bool:
    console.print(HELP, style="dim", markup=False)
    return True


def _clear(session: "Session", console: Console) -> bool:
    session.messages.clear()
    console.print("A new conversation.", style="dim")
    return True


def _undo(session: "Session", console: Console) -> bool:
    """Take back the last question and its reply."""
    console.print("Took back the last question." if session.messages else "Nothing was asked yet.", style="dim")
    del session.messages[-2:]
    return True


CHAT_COMMANDS: Mapping[str, Callable[["Session", Console], bool]] = {
    "/help": _help,
    "/clear": _clear,
    "/undo": _undo,
    "/exit": lambda session, console: False,
}
"""What may be typed in place of a question -> what is done, and whether the conversation goes on."""


def _read_line(console: Console) -> str:
    """What is typed, without spaces around it; empty at the end of the input. Ctrl-C begins the line anew."""
    while True:
        try:
            return console.input("> ").strip()
        except EOFError:
            return ""
        except KeyboardInterrupt:
            console.print()
