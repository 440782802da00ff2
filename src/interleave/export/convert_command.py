"""``interleave convert``: the command line."""

import argparse
from collections.abc import Sequence

from rich.console import Console

LAYOUT_NAMES = ("native", "original", "llava", "llava-onevision")
"""Names in ``checkpoints.LAYOUTS``, which cannot be imported without torch; a test compares the two."""


def convert_command(arguments: Sequence[str]) -> None:
    """Run ``interleave convert`` with the words ``arguments`` behind it. Raises InputError."""
    parser = argparse.ArgumentParser(
        prog="interleave convert",
        description="Write a model in another layout. The result is loaded and compared before it is kept.",
    )
    parser.add_argument("source", help="a run's folder or a published checkpoint, a folder or a name on the hub")
    parser.add_argument("target", help="a new folder")
    parser.add_argument("--to", required=True, choices=LAYOUT_NAMES, help="the layout to write")
    parser.add_argument(
        "--drop", default="", metavar="NAME,NAME", help="what may be lost where the layout cannot hold it"
    )
    options = parser.parse_args(arguments)
    drop = [name for name in options.drop.split(",") if name]
    from .convert import convert  # only now: --help needs no torch

    worst = convert(options.source, options.target, options.to, drop)
    Console().print(
        f"{options.target}: {options.to}; its logits equal the source's to {worst:.1e}", soft_wrap=True, highlight=False
    )
