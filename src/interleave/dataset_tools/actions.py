"""What ``interleave data`` does once its arguments and its config are read."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from ..checkpoints import unfilled
from ..core.errors import InputError
from ..data.build import build_source
from ..data.example_source import Source
from ..model.assembly import Assembly, assemble
from .check import check
from .pack_shards import pack
from .preview import preview
from .stats import stats


def act(asked: Namespace, config: Mapping[str, Any]) -> int:
    """Run the subcommand ``asked.action`` over the data of a composed config; returns the exit code."""
    with unfilled():  # adapters and a tokenizer are all that is needed of the model
        assembly = assemble(config)
    source = build_source(config, assembly)
    if not source.datasets:
        raise InputError("there is no data to look at; choose dataset=[...]")
    return RUN[asked.action](asked, config, assembly, source)


def _check(asked: Namespace, config: Mapping[str, Any], assembly: Assembly, source: Source) -> int:
    return check(source, Path(asked.out), asked.limit, asked.num_workers, asked.strict)


def _stats(asked: Namespace, config: Mapping[str, Any], assembly: Assembly, source: Source) -> int:
    stats(source, Path(asked.out), asked.limit, asked.num_workers)
    return 0


def _preview(asked: Namespace, config: Mapping[str, Any], assembly: Assembly, source: Source) -> int:
    page = preview(config, assembly, source, Path(asked.out), asked.rows)
    Console().print(f"preview: {page}", soft_wrap=True)
    return 0


def _pack(asked: Namespace, config: Mapping[str, Any], assembly: Assembly, source: Source) -> int:
    lost = pack(source, asked.out, asked.limit, asked.num_workers, asked.shard)
    return 1 if lost else 0


RUN: Mapping[str, Callable[[Namespace, Mapping[str, Any], Assembly, Source], int]] = {
    "check": _check,
    "stats": _stats,
    "preview": _preview,
    "pack": _pack,
}
