"""The command line of ``interleave data``: options first, then the overrides of ``interleave train``."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..compose import compose
from ..core.errors import InputError

ACTIONS: Mapping[str, str] = {
    "check": "read every sample and say what is wrong with it; exits with 1 where something is",
    "stats": "count tokens, visuals and views, and plot them",
    "preview": "show samples as the model sees them, on one page",
    "pack": "write streaming shards that hold records and media",
}


def data_command(arguments: Sequence[str]) -> int:
    """Returns the exit code. Raises InputError."""
    parser = argparse.ArgumentParser(prog="interleave data", description="Look at training data, or pack it.")
    actions = parser.add_subparsers(dest="action", required=True)
    for name, told in ACTIONS.items():
        action = actions.add_parser(name, help=told, description=told)
        action.add_argument("--out", default="data-report", help="folder for what is written (data-report)")
        if name != "preview":
            action.add_argument("--limit", type=_from(1), help="samples of each source at most, spread over it")
            action.add_argument("--num-workers", type=_from(0), default=0, help="processes that read (0: this one)")
        if name == "check":
            action.add_argument("--strict", action="store_true", help="absent sources and other counts are wrong, too")
        if name == "preview":
            action.add_argument("--rows", type=_from(1), default=4, help="packed rows to show (4)")
        if name == "pack":
            action.add_argument("--shard", type=_from(1), default=64, help="MiB of a shard (64)")
        action.add_argument("overrides", nargs="*", help="as for interleave train: dataset=..., modality=..., data....")
    asked, more = parser.parse_known_args(arguments)  # options may stand between overrides
    if wrong := [text for text in more if text.startswith("-")]:
        parser.error(f"interleave data {asked.action} has no option {wrong[0]}")
    config = compose("train", [*asked.overrides, *more])
    if asked.action != "pack" and Path(asked.out).is_file():
        raise InputError(f"--out {asked.out} is a file; name a folder")
    from .actions import act  # only now: help and errors of the config need no torch

    return act(asked, config)


def _from(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return number
