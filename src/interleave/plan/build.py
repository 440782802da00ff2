"""From a config to what a plan is made of: the only place that reads the ``plan`` and ``device`` nodes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from ..checkpoints import open_checkpoint
from ..core.errors import InputError
from ..core.options import Config, check_option
from ..costs.memory import WeightPlacement
from ..costs.rehearsal import Precision
from ..data.budget import Budget
from ..data.build import build_source
from ..interfaces.stored_weights import later_weights
from ..model.assembly import Assembly, assemble
from ..training.build import build_module, build_stage
from ..training.lightning_module import LitInterleaved
from ..training.parallelize_units import Sharding
from ..training.small_states import STATE_BYTES
from .device import Device
from .lengths import Survey, assumed, look


@dataclass(frozen=True)
class PlanOptions:
    """The ``plan`` node.

    samples: of each source that are rendered. seconds: after which no further one is.
    tokens, views, learned: of a sample where there is no data to look at; ``learned`` is a share of the tokens.
    json: a file for all numbers; None writes none.
    """

    samples: int
    seconds: float
    tokens: int
    views: int
    learned: float
    json: str | None


@dataclass(frozen=True)
class Job:
    """How a run is spread and how long it is, as ``trainer`` says.

    devices: of each node. workers: loader processes of each device.
    """

    devices: int
    nodes: int
    micro_batches: int
    max_steps: int
    workers: int

    @property
    def world(self) -> int:
        """Devices in all."""
        return self.devices * self.nodes


def build_options(config: Config) -> PlanOptions:
    """Raises InputError."""
    options: PlanOptions = check_option("plan", config["plan"], PlanOptions)
    return options


def build_device(config: Config) -> Device:
    """Raises InputError."""
    device: Device = check_option("device", config["device"], Device)
    return device


def build_budget(config: Config) -> Budget:
    """What a batch may hold. Raises InputError."""
    data = config["data"]
    names = ("sequence_length", "batch_size", "max_views", "lookahead")
    budget: Budget = check_option("data", {name: data[name] for name in names}, Budget)
    return budget


def build_job(config: Config) -> tuple[Job, list[str]]:
    """How the run is spread, and what had to be assumed. Raises InputError."""
    trainer, notes = config["trainer"], []
    nodes = trainer.get("num_nodes", 1)  # Lightning's own default
    devices = len(trainer["devices"]) if isinstance(trainer["devices"], list) else trainer["devices"]
    if devices in ("auto", -1, "-1"):  # as many as a machine has, and which is not known
        notes.append(f"trainer.devices is {devices!r}: planned for one device; give a number")
        devices = 1
    steps, micro = trainer["max_steps"], trainer["accumulate_grad_batches"]
    given = {"devices": devices, "num_nodes": nodes, "max_steps": steps, "accumulate_grad_batches": micro}
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"trainer.{name} is {value!r}; a plan needs a number above 0")
    workers = check_option("data.num_workers", config["data"]["num_workers"], int)
    return Job(devices, nodes, micro, steps, workers), notes


def build_state(config: Config, job: Job) -> tuple[WeightPlacement, Precision]:
    """Where weights lie and in which types a step computes, from ``trainer.strategy`` and ``trainer.precision``."""
    precision, strategy = str(config["trainer"]["precision"]), config["trainer"].get("strategy", "auto")
    half = precision.startswith(("bf16", "16"))
    computed = torch.bfloat16 if half else torch.float32
    autocast = computed if half and precision.endswith("mixed") else None
    kept = 2.0 if precision.endswith("true") and half else 4.0
    states = build_stage(config).optimizer_states
    moments = STATE_BYTES[states] if states else 2 * kept
    placement = WeightPlacement(weight_bytes=kept, frozen_bytes=kept, state_bytes=moments)
    if isinstance(strategy, Mapping):  # FSDP2: layers meet gathered weights, in the type of the computation
        return _sharded(placement, strategy, job, float(computed.itemsize)), Precision(computed, autocast)
    if job.world > 1:
        placement = replace(placement, bucket_bytes=kept)
    return placement, Precision(torch.bfloat16 if kept == 2 else torch.float32, autocast)


def _sharded(placement: WeightPlacement, strategy: Config, job: Job, gathered_bytes: float) -> WeightPlacement:
    """``placement`` under the options of FSDP2. Raises InputError for those that are wrong or not planned."""
    options = {name: value for name, value in strategy.items() if name != "_target_"}
    sharding: Sharding = check_option("trainer.strategy", options, Sharding)
    if sharding.offload:
        raise InputError(
            "a plan does not know trainer.strategy.offload=true: weights lie on the host then; plan without"
        )
    shards = sharding.shards(job.world)
    whole = sharding.frozen == "replicate"
    return replace(
        placement,
        shards=shards,
        frozen_shards=1 if whole else shards,
        frozen_bytes=gathered_bytes if whole else placement.frozen_bytes,
        gathered_bytes=gathered_bytes,
        prefetch=sharding.prefetch,
    )


def build_model(config: Config) -> tuple[Assembly, LitInterleaved, Config]:
    """The model without memory, as it will train, and the config that describes it. Raises InputError.

    Its parts are those of ``init`` where that is given. No weight is read, and none is drawn.
    """
    if config["init"]:
        parts = open_checkpoint(config["init"]).parts
        nodes = {group: parts[group] for group in ("vision_encoder", "projector", "llm", "modality")}
        config = {**config, **nodes}
    with torch.device("meta"), later_weights():
        assembly = assemble(config)
    return assembly, build_module(config, assembly.model), config


def build_survey(config: Config, assembly: Assembly, options: PlanOptions) -> tuple[Survey, list[str]]:
    """What the data is like; as the ``plan`` node says where it cannot be looked at, with a line that says so."""
    try:
        source = build_source(config, assembly)
        if not source.datasets:
            raise InputError("no data set is chosen")
        survey, notes = look(source, options.samples, options.seconds), []
    except InputError as error:
        sizes = f"{options.tokens:,} tokens, {options.views} views and {options.learned:.0%} learned"
        return assumed(options.tokens, options.views, options.learned), [
            f"the data is absent ({error}): every sample is taken to have {sizes} (plan.tokens, .views, .learned)"
        ]
    unseen = [name for name, sample in survey.sources.items() if not sample.examples]
    if unseen:
        notes.append(f"nothing was seen of {', '.join(unseen)}: left out; raise plan.seconds")
    if config["llm"].get("tokenizer", "") is None and config["llm"].get("path", "") is None:
        notes.append("text is counted by a byte-level tokenizer, about four times too long: give llm.tokenizer")
    return survey, notes
