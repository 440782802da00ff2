"""Config -> objects: the only place that reads a config. After this, every part is plain arguments."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar

from . import parallel
from .checkpoint import WholeFiles
from .data import InterleavedData
from .fitting import Room
from .interfaces import Judge, ModalityAdapter, Task
from .ledger import Ledger, read_quarantine
from .loader import Budget
from .model import InterleavedModel
from .module import LitInterleaved
from .optim import Stage
from .registry import check, datasets, judges, llms, modalities, projectors, tasks, vision_encoders
from .source import Own, Rendering, Source, flattened
from .types import InputError, VisionSpec

Config = Mapping[str, Any]

TARGETS = ("lightning.", "torch.", "wandb.", "interleave.")
"""What ``_target_`` may name: only what Lightning, torch and wandb own, and our own callbacks."""


@dataclass(frozen=True)
class Assembly:
    """A model and what the data side needs of it."""

    model: InterleavedModel
    adapters: Mapping[str, ModalityAdapter]
    """Copies without weights, for loader workers."""
    vision: VisionSpec

    def source(self, config: Config) -> Source:
        """The chosen data sets, with all that ``data`` says of how their samples are rendered."""
        built = flattened({name: datasets.build(node) for name, node in config["dataset"].items()})
        data = config["data"]
        rendering = check("data", _of(data, Rendering), Rendering)
        room = check("data", _of(data, Room), Room)
        own = {name: check(f"data.sources.{name}", node, Own) for name, node in (data["sources"] or {}).items()}
        quarantine = read_quarantine(data["quarantine"]) if data.get("quarantine") else {}
        chat = self.model.llm.chat
        return Source(built, self.adapters, chat, self.vision, rendering, room, own, quarantine)


def assemble(config: Config) -> Assembly:
    """Vision encoder, projector, language model and adapters -> one model, at its initial weights."""
    vision = vision_encoders.build(config["vision_encoder"])
    llm = llms.build(config["llm"])
    left = {"grid": vision.spec.grid, "prefix": vision.spec.prefix}
    projector = projectors.build(config["projector"], vision_dim=vision.dim, llm_dim=llm.dim, **left)
    spec = replace(vision.spec, grid=projector.grid, prefix=projector.prefix)
    adapters = {name: modalities.build(node, vision=spec, llm_dim=llm.dim) for name, node in config["modality"].items()}
    if not adapters:
        raise InputError(f"no modality is chosen; choose modality=[...] of {', '.join(modalities)}")
    light = {name: copy.deepcopy(adapter).to("meta") for name, adapter in adapters.items()}
    return Assembly(InterleavedModel(vision, projector, llm, adapters), light, spec)


def build_data(config: Config, assembly: Assembly, ledger: Ledger | None = None) -> InterleavedData:
    """Loaders over the chosen data sets; their ledger lies in the run's folder unless another is given."""
    data = config["data"]
    workers, cache = check("data.workers", data["workers"], int), check("data.cache", data["cache"], bool)
    budget = check("data", _of(data, Budget), Budget)
    ledger = ledger or Ledger(
        Path(config["run"]) / "ledger.jsonl", check("data.max_bad", data["max_bad"], float | None)
    )
    return InterleavedData(assembly.source(config), budget, config["seed"], workers, cache, ledger)


def _of(node: Config, cls: type[Any]) -> dict[str, Any]:
    """What of ``node`` is a field of a data class."""
    names = {field.name for field in fields(cls)}
    return {key: value for key, value in node.items() if key in names}


def build_stage(config: Config) -> Stage:
    stage: Stage = check("stage", config["stage"], Stage)
    return stage


def build_module(config: Config, model: InterleavedModel) -> LitInterleaved:
    stage = build_stage(config)
    kept = check(
        "checkpoint_activations", config["checkpoint_activations"], bool | list[Literal["vision_encoder", "llm"]]
    )
    return LitInterleaved(model, stage, parallel.TOWERS if kept is True else kept or ())


def build_trainer(config: Config, more: Sequence[Callback] = ()) -> Trainer:
    """more: callbacks that no config makes."""
    if not isinstance(config["trainer"].get("max_steps"), int) or config["trainer"]["max_steps"] < 1:
        steps = config["trainer"].get("max_steps")
        raise InputError(f"trainer.max_steps is {steps!r}; it must be a number of steps, the schedule's length")
    callbacks: list[Callback] = [create(node) for node in config["callbacks"].values() if node] + [*more]
    logger = create(config["logger"]) if config["logger"] else False
    shown = any(isinstance(c, ProgressBar) for c in callbacks)
    # without a folder of its own Lightning takes hpc_ckpt_*.ckpt of whatever run lies in the working directory
    own = {"default_root_dir": config["run"], "plugins": [WholeFiles()]}
    trainer = {"enable_progress_bar": shown, **own, **config["trainer"]}
    if isinstance(trainer.get("strategy"), Mapping):
        trainer["strategy"] = create(trainer["strategy"])
    built: Trainer = create(trainer, callbacks=callbacks, logger=logger)
    return built


def build_tasks(config: Config) -> dict[str, Task]:
    return {name: tasks.build(node) for name, node in config["task"].items()}


def build_judge(config: Config) -> Judge | None:
    """The one that is chosen, if any."""
    return judges.build(config["judge"]) if config["judge"] else None


def create(node: Config, **extra: Any) -> Any:
    """Hydra's ``instantiate``, for targets of an allow-list."""
    target = str(node["_target_"])
    if not target.startswith(TARGETS):
        raise InputError(f"_target_ {target} is not allowed; it must begin with one of {', '.join(TARGETS)}")
    try:
        return instantiate(dict(node), **extra)
    except Exception as error:
        cause = error.__cause__ or error
        raise InputError(f"{target} cannot be made: {type(cause).__name__}: {str(cause).splitlines()[0]}") from error
