"""``interleave plugins``: what can be chosen, read from the plugins' source without importing them."""

import argparse
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from .interfaces.registry import GROUPS, Registry, load_plugins


def plugins_command(arguments: Sequence[str]) -> None:
    """``interleave plugins list``. Raises InputError for a plugin that cannot be loaded."""
    parser = argparse.ArgumentParser(prog="interleave plugins", description="What can be chosen, by group.")
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="every name with the module that it comes from")
    listing.add_argument("extra", nargs="*", metavar="FILE|MODULE", help="plugins of your own that are not installed")
    listing.add_argument("--group", choices=GROUPS, help="of one group only")
    asked = parser.parse_args(arguments)
    load_plugins(asked.extra)
    console = Console()
    for group in [asked.group] if asked.group else GROUPS:
        console.print(table(GROUPS[group]))


def table(registry: Registry[object]) -> Table:
    """One line for each name of a group: name, what it says of itself, module."""
    drawn = Table(title=registry.group, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    drawn.add_column("name", no_wrap=True)
    drawn.add_column("what it is")
    drawn.add_column("module", overflow="fold", style="dim")
    for name in registry:
        module, summary = registry.describe(name)
        drawn.add_row(name, summary, module)
    return drawn
