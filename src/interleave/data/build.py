"""From a config to data: the only place that reads the ``data`` and ``dataset`` nodes."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ..core.options import Config, check_option
from ..interfaces.registry import datasets
from ..model.assembly import Assembly
from ..processing.over_length import ExampleLimits
from .budget import Budget
from .datamodule import InterleavedData
from .example_source import ExampleSource, Rendering, SourceOptions, flattened
from .ledger import Ledger, read_quarantine

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def build_source(config: Config, assembly: Assembly) -> ExampleSource:
    """The data sets that ``dataset`` chooses, with all that ``data`` says of how their samples are rendered.

    Raises InputError for an option that is unknown, missing or of another type.
    """
    # a collection becomes its parts, which the mixture draws from one by one
    parts = flattened({name: datasets.build(node) for name, node in config["dataset"].items()})
    data = config["data"]
    rendering = check_option("data", _options_of(data, Rendering), Rendering)
    limits = check_option("data", _options_of(data, ExampleLimits), ExampleLimits)
    own: dict[str, SourceOptions] = {}  # by source; the source checks that there is one of each name
    for name, node in (data["sources"] or {}).items():
        own[name] = check_option(f"data.sources.{name}", node, SourceOptions)
    quarantine = read_quarantine(data["quarantine"]) if data.get("quarantine") else {}
    chat = assembly.model.llm.tokenizer
    return ExampleSource(parts, assembly.adapters, chat, assembly.vision, rendering, limits, own, quarantine)


def build_data(config: Config, assembly: Assembly, ledger: Ledger | None = None) -> InterleavedData:
    """Training and validation batches of the chosen data sets. Raises InputError as ``build_source`` does.

    ledger: where bad samples are written down; by default ``ledger.jsonl`` in the run's folder.
    """
    data = config["data"]
    num_workers = check_option("data.num_workers", data["num_workers"], int)
    prefetch = check_option("data.prefetch", data["prefetch"], Annotated[int, Field(ge=0)])
    cache = check_option("data.cache", data["cache"], bool)
    budget = check_option("data", _options_of(data, Budget), Budget)
    if not ledger:
        max_bad = check_option("data.max_bad", data["max_bad"], float | None)
        ledger = Ledger(Path(config["run"]) / "ledger.jsonl", max_bad)
    source = build_source(config, assembly)
    return InterleavedData(source, budget, config["seed"], num_workers, cache, ledger, prefetch)


def _options_of(node: Config, options: "type[DataclassInstance]") -> dict[str, object]:
    """The entries of a config node that are fields of a data class; several classes share the node ``data``."""
    names = {field.name for field in fields(options)}
    return {key: value for key, value in node.items() if key in names}
