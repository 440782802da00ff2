"""From the config to what trains: the only place that makes Lightning's objects from a config."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.utilities.enums import GradClipAlgorithmType

from ..core.errors import InputError
from ..core.options import Config, check_option
from ..data.log_steps import LogSteps
from ..model.interleaved_model import InterleavedModel
from ..model.matrix_loss import matrix_loss
from .compilation import RecompilationCount
from .lightning_module import LitInterleaved
from .optimizer import Stage
from .parallelize import TOWERS, CheckpointMode, FSDP2Strategy
from .parallelize_units import Sharding
from .preemption import end_ranks_by_sigterm
from .step_times import StepTimes

ALLOWED_TARGETS = ("lightning.", "torch.", "wandb.", "interleave.")
"""What ``_target_`` may begin with: packages whose objects a config may make. Any other could run anything."""

Checkpointed = bool | Literal["selective"]
"""What ``checkpoint_activations`` says of a tower: nothing is computed again, all of it, or what is cheap."""


@dataclass(frozen=True)
class LossOptions:
    """The ``loss`` node. head: what forms the gradients of a head that is a matrix alone; auto: ``chunks`` there, and
    for every other head, and for preferences, chunks that are computed again."""

    head: Literal["auto", "chunks", "torch", "liger"] = "auto"


def build_stage(config: Config) -> Stage:
    """The ``stage`` node, checked. Raises InputError."""
    stage: Stage = check_option("stage", config["stage"], Stage)
    return stage


def build_module(
    config: Config, model: InterleavedModel, start: Callable[[LitInterleaved], None] | None = None
) -> LitInterleaved:
    """The model with its stage, how its blocks are computed, and ``start``, which gives it weights once it is sharded.

    Raises InputError."""
    compiled: bool = check_option("compile", config["compile"], bool)
    model.vision_chunks = vision_chunks(config)
    return LitInterleaved(model, build_stage(config), checkpointed_towers(config), start, compiled)


def choose_loss_head(config: Config, module: LitInterleaved) -> None:
    """Let the model's loss be formed as the ``loss`` node says. Raises InputError where it cannot be."""
    options: LossOptions = check_option("loss", config["loss"], LossOptions)
    if options.head == "auto":
        return
    if module.stage.dpo:
        raise InputError(
            f"loss.head={options.head} adds up the losses of all tokens, and stage.dpo needs each; leave it"
        )
    if module.model.llm.head_matrix() is None:
        raise InputError(
            f"loss.head={options.head} needs a head that is a matrix alone, and this llm's is more; leave it"
        )
    on_gpu = torch.cuda.is_available() and config["trainer"]["accelerator"] != "cpu"
    module.model.matrix_loss = matrix_loss(options.head, on_gpu)


def vision_chunks(config: Config) -> int:
    """In how many chunks a batch's views are encoded, so that none has more than ``vision_chunk``. Raises InputError.

    The number follows from ``data.max_views`` and not from the batch: ranks that hold shards of the vision encoder
    gather them together, and must do so equally often.
    """
    chunk: int | None = check_option("vision_chunk", config["vision_chunk"], int | None)
    if chunk is None:
        return 1
    if chunk < 1:
        raise InputError(f"vision_chunk is {chunk}; it must be at least 1 view, or null for all views at once")
    most: int = config["data"]["max_views"]
    return math.ceil(most / chunk)


def checkpointed_towers(config: Config) -> dict[str, CheckpointMode]:
    """The towers that ``checkpoint_activations`` names, and how: a word for both or one for each. Raises InputError."""
    name = "checkpoint_activations"
    chosen = check_option(name, config[name], Checkpointed | dict[Literal["vision_encoder", "llm"], Checkpointed])
    words: Mapping[str, Checkpointed] = chosen if isinstance(chosen, dict) else dict.fromkeys(TOWERS, chosen)
    kept: dict[str, CheckpointMode] = {}
    for tower, word in words.items():
        if word:
            kept[tower] = "selective" if word == "selective" else "full"
    return kept


def build_trainer(config: Config, more_callbacks: Sequence[Callback] = ()) -> Trainer:
    """Lightning's trainer with the config's callbacks and logger, and ``more_callbacks``. Raises InputError."""
    max_steps = config["trainer"].get("max_steps")
    if not isinstance(max_steps, int) or max_steps < 1:
        raise InputError(f"trainer.max_steps is {max_steps!r}; it must be a number of steps, the schedule's length")
    callbacks: list[Callback] = [create(node) for node in config["callbacks"].values() if node]  # null leaves one out
    callbacks += [RecompilationCount()] if config["compile"] else []
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
        "profiler": StepTimes(),  # which the accounting reads
        **config["trainer"],
    }
    strategy = options.get("strategy")
    if isinstance(strategy, Mapping):
        options["strategy"] = build_strategy(strategy)
    logger = create(config["logger"]) if config["logger"] else False
    trainer: Trainer = create(options, callbacks=callbacks, logger=logger)
    if trainer.gradient_clip_algorithm == GradClipAlgorithmType.VALUE:
        raise InputError("trainer.gradient_clip_algorithm=value is not known here: gradients are clipped by their norm")
    _ask_for_signals_at_log_steps(trainer)
    end_ranks_by_sigterm(trainer)
    return trainer


def build_strategy(node: Config) -> Any:
    """The ``trainer.strategy`` node; of FSDP2 with the options of ``Sharding``. Raises InputError."""
    if node["_target_"] != f"{FSDP2Strategy.__module__}.{FSDP2Strategy.__qualname__}":
        return create(node)
    options = {name: value for name, value in node.items() if name != "_target_"}
    # not by Hydra, which would make a config of the dataclass
    return FSDP2Strategy(check_option("trainer.strategy", options, Sharding))


def _ask_for_signals_at_log_steps(trainer: Trainer) -> None:
    """Lightning asks before every micro-batch whether any rank got SIGTERM, and waits for the device each time."""
    loop, log_steps = trainer.fit_loop.epoch_loop, LogSteps()
    ask = loop._broadcast_sigterm_tensor

    def ask_at_log_steps() -> None:
        if log_steps.over(trainer):
            ask()

    loop._broadcast_sigterm_tensor = ask_at_log_steps  # type: ignore[method-assign]


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
