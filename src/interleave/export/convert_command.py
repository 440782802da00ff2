"""``interleave convert``: the command line."""

import argparse
from collections.abc import Sequence

from rich.console import Console

LAYOUTS = ("native", "original", "llava", "llava-onevision")
"""Names in ``checkpoints.LAYOUTS``, which cannot be imported without torch; a test compares the two."""


def convert_command(arguments: Sequence[str]) -> None:
    """``interleave convert``."""
    parser = argparse.ArgumentParser(
        prog="interleave convert",
        description="Write a model in another layout. The result is loaded and compared before it is kept.",
    )
    parser.add_argument("source", help="a run's folder or a published checkpoint, a folder or a name on the hub")
    parser.add_argument("target", help="a new folder")
    parser.add_argument("--to", required=True, choices=LAYOUTS, help="the layout to write")
    parser.add_argument(
        "--drop", default="", metavar="NAME,NAME", help="what may be lost where the layout cannot hold it"
    )
    asked = parser.parse_args(arguments)
    drop = [name for name in asked.drop.split(",") if name]
    from .convert import convert  # only now: --help needs no torch

    worst = convert(asked.source, asked.target, asked.to, drop)
    Console().print(
        f"{asked.target}: {asked.to}; its logits equal the source's to {worst:.1e}", soft_wrap=True, highlight=False
    )
