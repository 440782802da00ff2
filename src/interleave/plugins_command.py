"""``interleave plugins``: what can be chosen, read from the plugins' source without importing them."""

import argparse
import re
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
    options = parser.parse_args(arguments)
    load_plugins(options.extra)
    console = Console()
    for group in [options.group] if options.group else GROUPS:
        console.print(plugins_table(GROUPS[group]))


def plugins_table(registry: Registry[object]) -> Table:
    """One line for each name of a group: name, first sentence of its description, module.

    Most modules of a group stand in one package, which the title names once; a module elsewhere has its whole name.
    """
    described = {name: registry.describe(name) for name in registry}
    package = common_package([module for module, _ in described.values()])
    title = f"{registry.group}, from {package}" if package else registry.group
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("what it is")
    table.add_column("module", overflow="fold", style="dim")
    for name, (module, summary) in described.items():
        table.add_row(name, first_sentence(summary), module.removeprefix(f"{package}.") if package else module)
    return table


def common_package(modules: Sequence[str]) -> str:
    """The package in which most of the modules stand, the first of several; empty where none holds two of them."""
    packages = [module.rpartition(".")[0] for module in modules]
    most = max(packages, key=packages.count, default="")
    return most if packages.count(most) > 1 else ""


def first_sentence(text: str) -> str:
    """The text up to its first full stop before a capital letter; all of it where there is none."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`])", text, maxsplit=1)[0]
