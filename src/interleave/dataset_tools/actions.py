"""What ``interleave data`` does once its arguments and its config are read."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from ..checkpoints import unfilled
from ..core.errors import InputError
from ..core.options import Config
from ..data.build import build_source
from ..data.example_source import ExampleSource
from ..model.assembly import Assembly, assemble
from .check import check_sources
from .pack_shards import pack
from .preview import preview
from .stats import stats


def run_action(arguments: Namespace, config: Config) -> int:
    """Run the subcommand ``arguments.action`` over the data of a composed config; returns the exit code.

    Raises InputError.
    """
    with unfilled():  # adapters and a tokenizer are all that is needed of the model
        assembly = assemble(config)
    source = build_source(config, assembly)
    if not source.datasets:
        raise InputError("there is no data to look at; choose dataset=[...]")
    return ACTIONS[arguments.action](arguments, config, assembly, source)


def _check(arguments: Namespace, config: Config, assembly: Assembly, source: ExampleSource) -> int:
    return check_sources(source, Path(arguments.out), arguments.limit, arguments.num_workers, arguments.strict)


def _stats(arguments: Namespace, config: Config, assembly: Assembly, source: ExampleSource) -> int:
    stats(source, Path(arguments.out), arguments.limit, arguments.num_workers)
    return 0


def _preview(arguments: Namespace, config: Config, assembly: Assembly, source: ExampleSource) -> int:
    page = preview(config, assembly, source, Path(arguments.out), arguments.rows)
    Console().print(f"preview: {page}", soft_wrap=True)
    return 0


def _pack(arguments: Namespace, config: Config, assembly: Assembly, source: ExampleSource) -> int:
    lost = pack(source, arguments.out, arguments.limit, arguments.num_workers, arguments.shard)
    return 1 if lost else 0


ACTIONS: Mapping[str, Callable[[Namespace, Config, Assembly, ExampleSource], int]] = {
    "check": _check,
    "stats": _stats,
    "preview": _preview,
    "pack": _pack,
}
"""Subcommand -> what it does: (arguments, config, model, data) -> exit code."""
