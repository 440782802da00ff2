"""Config -> data: the only place that reads the ``data`` and ``dataset`` nodes."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from ..core.options import check
from ..interfaces.registry import datasets
from ..model.assembly import Assembly, Config
from ..processing.over_length import Room
from .datamodule import InterleavedData
from .example_source import Own, Rendering, Source, flattened
from .ledger import Ledger, read_quarantine
from .packed_loader import Budget


def build_source(config: Config, assembly: Assembly) -> Source:
    """The chosen data sets, with all that ``data`` says of how their samples are rendered."""
    built = flattened({name: datasets.build(node) for name, node in config["dataset"].items()})
    data = config["data"]
    rendering = check("data", _of(data, Rendering), Rendering)
    room = check("data", _of(data, Room), Room)
    own = {name: check(f"data.sources.{name}", node, Own) for name, node in (data["sources"] or {}).items()}
    quarantine = read_quarantine(data["quarantine"]) if data.get("quarantine") else {}
    chat = assembly.model.llm.tokenizer
    return Source(built, assembly.adapters, chat, assembly.vision, rendering, room, own, quarantine)


def build_data(config: Config, assembly: Assembly, ledger: Ledger | None = None) -> InterleavedData:
    """Loaders over the chosen data sets; their ledger lies in the run's folder unless another is given."""
    data = config["data"]
    num_workers, cache = check("data.num_workers", data["num_workers"], int), check("data.cache", data["cache"], bool)
    budget = check("data", _of(data, Budget), Budget)
    ledger = ledger or Ledger(
        Path(config["run"]) / "ledger.jsonl", check("data.max_bad", data["max_bad"], float | None)
    )
    return InterleavedData(build_source(config, assembly), budget, config["seed"], num_workers, cache, ledger)


def _of(node: Config, cls: type[Any]) -> dict[str, Any]:
    """What of ``node`` is a field of a data class."""
    names = {field.name for field in fields(cls)}
    return {key: value for key, value in node.items() if key in names}
