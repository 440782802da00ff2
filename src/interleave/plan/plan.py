"""A plan: parts, data, memory and time of a run, worked out from a composed config."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ..core.options import Config
from ..costs.memory import numbers_in
from ..costs.rehearsal import Rehearsal, StepShape
from ..costs.work import Passes, model_work
from ..training.optimizer import parts
from ..training.parallelize import checkpoint_activations
from .build import (
    Job,
    PlanOptions,
    build_budget,
    build_device,
    build_job,
    build_model,
    build_options,
    build_state,
    build_survey,
)
from .device import Device, Rates, rates
from .fitting import MemoryModel, rehearsed
from .lengths import PackedBatch, Survey, packed_batch
from .step_time import StepLoad, StepTime, step_time


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    parameters: (all, trained) of each part.
    survey, batch: what the data is like, and a batch of one device on average.
    shape: the largest batch that ``data`` allows, by which memory is counted.
    memory: of a device, bytes by term. longest, most_views: the largest sizes that fit; 0 where none does.
    work: FLOPs of a micro-batch on one device by part, with its padding. llm_alone: as others count them, real tokens.
    time: of an optimiser step.
    notes: what was assumed.
    """

    options: PlanOptions
    device: Device
    rates: Rates
    job: Job
    parameters: Mapping[str, tuple[int, int]]
    survey: Survey
    batch: PackedBatch
    shape: StepShape
    memory: Mapping[str, float]
    longest: int
    most_views: int
    work: Mapping[str, Passes]
    llm_alone: float
    time: StepTime
    notes: list[str]

    @property
    def days(self) -> float:
        """Of the whole run."""
        return self.job.max_steps * self.time.seconds / 86400

    @property
    def tokens_a_second(self) -> float:
        """Real ones, of all devices together."""
        return self.batch.quantities.tokens * self.job.micro_batches * self.job.world / self.time.seconds

    def utilisation(self, flops: float) -> float:
        """The share of the device's peak that so many FLOPs of a micro-batch are."""
        return flops * self.job.micro_batches / self.time.seconds / self.rates.peak

    @property
    def epoch_steps(self) -> float:
        """Optimiser steps in which every source is read once; 0 where the data is absent."""
        draws = sum(sample.draws for sample in self.survey.sources.values())
        return draws / (self.batch.samples * self.job.micro_batches * self.job.world)


def make_plan(config: Config) -> Plan:
    """Work out a plan. Raises InputError for what is wrong with the config."""
    options, device, budget = build_options(config), build_device(config), build_budget(config)
    job, notes = build_job(config)
    placement, precision = build_state(config, job)
    assembly, module, config = build_model(config)
    survey, seen = build_survey(config, assembly, options)
    batch = packed_batch(survey, budget)
    work = model_work(assembly.model, module.checkpoint_activations)
    parameters = {name: _counts(members.values()) for name, members in parts(assembly.model).items()}
    if module.checkpoint_activations:
        checkpoint_activations(assembly.model, module.checkpoint_activations)
    learned = batch.quantities.supervised / batch.quantities.tokens
    shape = StepShape(budget.batch_size, budget.sequence_length, budget.max_views, learned)
    speed = rates(device, precision.autocast is not None or placement.weight_bytes == 2, job.devices, job.nodes)
    rehearsal = Rehearsal(assembly.model, assembly.vision, precision)
    fitted = rehearsed(rehearsal, placement, shape, 2, job.micro_batches > 1)
    load = _load(batch, shape, fitted, job, survey)
    return Plan(
        options=options,
        device=device,
        rates=speed,
        job=job,
        parameters=parameters,
        survey=survey,
        batch=batch,
        shape=shape,
        memory=fitted.terms(shape),
        longest=fitted.longest(shape, speed.memory),
        most_views=fitted.most_views(shape, speed.memory),
        work=work.by_part(load.quantities),
        llm_alone=work.llm_alone(batch.quantities),
        time=step_time(assembly.model, work, placement, load, speed),
        notes=[*notes, *seen],
    )


def _counts(parameters: Iterable[Tensor]) -> tuple[int, int]:
    """Numbers in all of them, and in those that are trained."""
    members = list(parameters)
    return numbers_in(members), numbers_in(members, True)


def _load(batch: PackedBatch, shape: StepShape, fitted: MemoryModel, job: Job, survey: Survey) -> StepLoad:
    """What a step asks of a device: the views of an average batch, and rows with their padding."""
    quantities = replace(batch.quantities, tokens=shape.rows * shape.length)
    usual = replace(shape, views=max(1, round(quantities.views)))
    return StepLoad(
        quantities=quantities,
        moved=fitted.step(usual).moved,
        micro_batches=job.micro_batches,
        devices=job.world,
        data_seconds=survey.seconds * batch.samples,
        workers=job.workers,
    )
