"""Config -> objects: the only place that reads a config. After this, every part is plain arguments."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar

from . import parallel
from .data import Budget, InterleavedData
from .interfaces import ModalityAdapter, Task
from .model import InterleavedModel
from .module import LitInterleaved
from .optim import Stage
from .registry import check, datasets, llms, modalities, projectors, tasks, vision_encoders
from .source import Rendering, Source
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
        built = {name: datasets.build(node) for name, node in config["dataset"].items()}
        told = {key: config["data"][key] for key in ("labels", "placement", "front") if key in config["data"]}
        rendering = check("data", told, Rendering)
        return Source(built, self.adapters, self.model.llm.chat, self.vision, rendering)


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


def build_data(config: Config, assembly: Assembly) -> InterleavedData:
    data = dict(config["data"])
    workers, cache = check("data.workers", data.pop("workers"), int), check("data.cache", data.pop("cache"), bool)
    source = assembly.source(config)
    budget = check("data", {k: v for k, v in data.items() if k in ("length", "rows", "views")}, Budget)
    return InterleavedData(source, budget, config["seed"], workers, cache)


def build_stage(config: Config) -> Stage:
    stage: Stage = check("stage", config["stage"], Stage)
    return stage


def build_module(config: Config, model: InterleavedModel) -> LitInterleaved:
    stage = build_stage(config)
    kept = check(
        "checkpoint_activations", config["checkpoint_activations"], bool | list[Literal["vision_encoder", "llm"]]
    )
    return LitInterleaved(model, stage, parallel.TOWERS if kept is True else kept or ())


def build_trainer(config: Config) -> Trainer:
    if not isinstance(config["trainer"].get("max_steps"), int) or config["trainer"]["max_steps"] < 1:
        steps = config["trainer"].get("max_steps")
        raise InputError(f"trainer.max_steps is {steps!r}; it must be a number of steps, the schedule's length")
    callbacks: list[Callback] = [create(node) for node in config["callbacks"].values() if node]
    logger = create(config["logger"]) if config["logger"] else False
    trainer = {"enable_progress_bar": any(isinstance(c, ProgressBar) for c in callbacks), **config["trainer"]}
    if isinstance(trainer.get("strategy"), Mapping):
        trainer["strategy"] = create(trainer["strategy"])
    built: Trainer = create(trainer, callbacks=callbacks, logger=logger)
    return built


def build_tasks(config: Config) -> dict[str, Task]:
    return {name: tasks.build(node) for name, node in config["task"].items()}


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
