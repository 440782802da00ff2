"""From the config to what trains: the only place that makes Lightning's objects from a config."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint, ProgressBar

from ..core.errors import InputError
from ..core.options import Config, check_option
from ..model.interleaved_model import InterleavedModel
from .lightning_module import LitInterleaved
from .optimizer import Stage
from .parallelize import TOWERS, FSDP2Strategy
from .parallelize_units import Sharding

ALLOWED_TARGETS = ("lightning.", "torch.", "wandb.", "interleave.")
"""What ``_target_`` may begin with: packages whose objects a config may make. Any other could run anything."""


def build_stage(config: Config) -> Stage:
    """The ``stage`` node, checked. Raises InputError."""
    stage: Stage = check_option("stage", config["stage"], Stage)
    return stage


def build_module(
    config: Config, model: InterleavedModel, start: Callable[[LitInterleaved], None] | None = None
) -> LitInterleaved:
    """The model with its stage, and with ``start``, which gives it weights once it is sharded.

    ``checkpoint_activations`` is a bool or a list of towers. Raises InputError."""
    stage = build_stage(config)
    checkpointed = check_option(
        "checkpoint_activations", config["checkpoint_activations"], bool | list[Literal["vision_encoder", "llm"]]
    )
    return LitInterleaved(model, stage, TOWERS if checkpointed is True else checkpointed or (), start)


def build_trainer(config: Config, more_callbacks: Sequence[Callback] = ()) -> Trainer:
    """Lightning's trainer with the config's callbacks and logger, and ``more_callbacks``. Raises InputError."""
    max_steps = config["trainer"].get("max_steps")
    if not isinstance(max_steps, int) or max_steps < 1:
        raise InputError(f"trainer.max_steps is {max_steps!r}; it must be a number of steps, the schedule's length")
    callbacks: list[Callback] = [create(node) for node in config["callbacks"].values() if node]  # null leaves one out
    callbacks += more_callbacks
    options: dict[str, object] = {
        # Lightning would add a bar of its own where no callback is one
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        # and write checkpoints of its own
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        # without a folder of its own Lightning takes hpc_ckpt_*.ckpt of whatever run lies in the working directory
        "default_root_dir": config["run"],
        # its handler of SLURM's signal writes in the middle of a step: ``preemption`` waits for the end of one
        "plugins": [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else [],
        **config["trainer"],
    }
    strategy = options.get("strategy")
    if isinstance(strategy, Mapping):
        options["strategy"] = build_strategy(strategy)
    logger = create(config["logger"]) if config["logger"] else False
    trainer: Trainer = create(options, callbacks=callbacks, logger=logger)
    return trainer


def build_strategy(node: Config) -> Any:
    """The ``trainer.strategy`` node; of FSDP2 with the options of ``Sharding``. Raises InputError."""
    if node["_target_"] != f"{FSDP2Strategy.__module__}.{FSDP2Strategy.__qualname__}":
        return create(node)
    options = {name: value for name, value in node.items() if name != "_target_"}
    # not by Hydra, which would make a config of the dataclass
    return FSDP2Strategy(check_option("trainer.strategy", options, Sharding))


def create(node: Config, **more: object) -> Any:
    """The object that a node with a ``_target_`` describes, made by Hydra; ``more``: further arguments.

    Raises InputError for a target outside ``ALLOWED_TARGETS``, and where the target itself raises anything.
    """
    target = str(node["_target_"])
    if not target.startswith(ALLOWED_TARGETS):
        raise InputError(f"_target_ {target} is not allowed; it must begin with one of {', '.join(ALLOWED_TARGETS)}")
    try:
        return instantiate(dict(node), **more)
    except Exception as error:
        cause = error.__cause__ or error  # Hydra's own error wraps that of the target
        raise InputError(f"{target} cannot be made: {type(cause).__name__}: {str(cause).splitlines()[0]}") from error
