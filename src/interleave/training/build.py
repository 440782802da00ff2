"""Config -> what trains: the only place that makes Lightning's objects from a config."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar

from ..core.errors import InputError
from ..core.options import check
from ..model.assembly import Config
from ..model.interleaved_model import InterleavedModel
from .lightning_module import LitInterleaved
from .optimizer import Stage
from .parallelize import TOWERS
from .resume import WholeFiles

TARGETS = ("lightning.", "torch.", "wandb.", "interleave.")
"""What ``_target_`` may name: only what Lightning, torch and wandb own, and our own callbacks."""


def build_stage(config: Config) -> Stage:
    stage: Stage = check("stage", config["stage"], Stage)
    return stage


def build_module(config: Config, model: InterleavedModel) -> LitInterleaved:
    stage = build_stage(config)
    kept = check(
        "checkpoint_activations", config["checkpoint_activations"], bool | list[Literal["vision_encoder", "llm"]]
    )
    return LitInterleaved(model, stage, TOWERS if kept is True else kept or ())


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
