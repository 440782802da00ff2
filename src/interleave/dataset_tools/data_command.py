"""The command line of ``interleave data``: options first, then the overrides of ``interleave train``."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..compose import compose
from ..core.errors import InputError

SUBCOMMANDS: Mapping[str, str] = {
    "check": "read every sample and say what is wrong with it; exits with 1 where something is",
    "stats": "count tokens, visuals and views, and plot them",
    "preview": "show samples as the model sees them, on one page",
    "pack": "write streaming shards that hold records and media",
}


def data_command(arguments: Sequence[str]) -> int:
    """Run ``interleave data`` with the words that follow it; returns the exit code.

    Raises InputError for what a user can mend, and SystemExit, as argparse does, for options that there are not.
    """
    parser = _parser()
    known, more = parser.parse_known_args(arguments)  # options may stand between overrides
    wrong = [word for word in more if word.startswith("-")]
    if wrong:
        parser.error(f"interleave data {known.action} has no option {wrong[0]}")
    config = compose("train", [*known.overrides, *more])
    if known.action != "pack" and Path(known.out).is_file():
        raise InputError(f"--out {known.out} is a file; name a folder")
    from .actions import run_action  # only now: help and errors of the config need no torch

    return run_action(known, config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="interleave data", description="Look at training data, or pack it.")
    actions = parser.add_subparsers(dest="action", required=True)
    for name, description in SUBCOMMANDS.items():
        action = actions.add_parser(name, help=description, description=description)
        action.add_argument("--out", default="data-report", help="folder for what is written (data-report)")
        if name != "preview":
            action.add_argument("--limit", type=_at_least(1), help="samples of each source at most, spread over it")
            action.add_argument("--num-workers", type=_at_least(0), default=0, help="processes that read (0: this one)")
        if name == "check":
            action.add_argument("--strict", action="store_true", help="absent sources and other counts are wrong, too")
        if name == "preview":
            action.add_argument("--rows", type=_at_least(1), default=4, help="packed rows to show (4)")
        if name == "pack":
            action.add_argument("--shard", type=_at_least(1), default=64, help="MiB of a shard (64)")
        action.add_argument("overrides", nargs="*", help="as for interleave train: dataset=..., modality=..., data....")
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    """A type for argparse: whole numbers from ``least`` on."""

    def number(text: str) -> int:  # argparse names the function in its message for a text that is no number
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return number
