"""A plan as tables of at most 80 columns, and as plain numbers for a file."""

from collections import defaultdict
from dataclasses import asdict

from rich import box
from rich.table import Table

from ..costs.memory import GIB
from ..costs.work import Passes
from .lengths import SourceSample
from .plan import Plan

SOURCES = 12
"""Sources of the table, those with most samples; the others are one line."""


def parts_plan(plan: Plan) -> Table:
    """The model's parts."""
    table = _table("parts", "part", "parameters", "trained", "frozen")
    for part, (total, trained) in plan.parameters.items():
        table.add_row(part, f"{total:,}", f"{trained:,}", f"{total - trained:,}")
    totals = [sum(numbers) for numbers in zip(*plan.parameters.values(), strict=True)]
    table.add_row("all", f"{totals[0]:,}", f"{totals[1]:,}", f"{totals[0] - totals[1]:,}")
    return table


def data_plan(plan: Plan) -> Table:
    """What samples of each source are like, on average."""
    table = _table("data, by sample", "source", "an epoch", "seen", "lost", "tokens", "learned", "views")
    sources = sorted(plan.survey.sources.items(), key=lambda item: -item[1].draws)
    for name, sample in sources[:SOURCES]:
        table.add_row(name, *_source_cells(sample))
    if len(sources) > SOURCES:
        rest = [sample for _, sample in sources[SOURCES:]]
        examples = [example for sample in rest for example in sample.examples]
        others = SourceSample(sum(s.draws for s in rest), examples, sum(s.lost for s in rest))
        table.add_row(f"{len(rest)} others", *_source_cells(others))
    batch = plan.batch
    table.caption = (
        f"a batch of {plan.shape.rows} x {plan.shape.length:,} tokens holds {batch.samples:.1f} samples and "
        f"{batch.quantities.views:.1f} views; {batch.filled:.1%} of its tokens are real"
    )
    return table


def memory_plan(plan: Plan) -> Table:
    """Memory of a device by term, and the largest sizes that fit."""
    table = _table(f"memory of a device, of {plan.rates.memory / GIB:.0f} GiB", "term", "GiB", "share")
    total = sum(plan.memory.values())
    for term, size in {**plan.memory, "all": total}.items():
        table.add_row(term, f"{_three_digits(size / GIB)}", f"{size / plan.rates.memory:.1%}")
    shape = plan.shape
    table.caption = (
        f"at {shape.length:,} tokens and {shape.views} views; fits: data.sequence_length up to {plan.longest:,}, "
        f"or data.max_views up to {plan.most_views:,}"
    )
    return table


def work_plan(plan: Plan) -> Table:
    """The work of a step by part."""
    table = _table("work of a step on a device, in TFLOPs", "part", "forward", "backward", "again", "share")
    total = sum(plan.work.values(), Passes())
    for part, passes in {**plan.work, "all": total}.items():
        scaled = passes.times(plan.job.micro_batches / 1e12)
        numbers = (scaled.forward, scaled.backward, scaled.recomputed)
        table.add_row(part, *(_three_digits(number) for number in numbers), f"{passes.done / total.done:.1%}")
    return table


def time_plan(plan: Plan) -> Table:
    """How long a step takes, and the run."""
    table = _table(f"time on {plan.job.world} x {plan.device.name}", "", "seconds a step")
    for name in ("products", "attention", "elementwise", "optimizer", "network", "data", "seconds"):
        table.add_row("step" if name == "seconds" else name, _three_digits(getattr(plan.time, name)))
    useful = sum(passes.useful for passes in plan.work.values())
    epoch = f"; an epoch takes {plan.epoch_steps:,.0f}" if plan.epoch_steps else ""
    table.caption = (
        f"bound by {plan.time.bound}; {plan.tokens_a_second:,.0f} real tokens a second; MFU "
        f"{plan.utilisation(useful):.0%} of all parts, {plan.utilisation(plan.llm_alone):.0%} by the LLM alone; "
        f"{plan.job.max_steps:,} steps take {_duration(plan.days * 86400)}{epoch}"
    )
    return table


def as_numbers(plan: Plan) -> dict[str, object]:
    """All numbers of a plan, as JSON can hold them: bytes, FLOPs and seconds."""
    sources: dict[str, dict[str, float]] = defaultdict(dict)
    for name, sample in plan.survey.sources.items():
        sources[name] = {number: sample.mean(number) for number in ("tokens", "views", "learned")}
        sources[name] |= {"draws": sample.draws, "seen": len(sample.examples), "lost": sample.lost}
    return {
        "device": asdict(plan.device),
        "rates": asdict(plan.rates),
        "job": asdict(plan.job),
        "parameters": {part: {"all": total, "trained": trained} for part, (total, trained) in plan.parameters.items()},
        "sources": dict(sources),
        "batch": asdict(plan.batch),
        "memory": dict(plan.memory),
        "fits": {"data.sequence_length": plan.longest, "data.max_views": plan.most_views},
        "flops": {part: asdict(passes) for part, passes in plan.work.items()},
        "flops_llm_alone": plan.llm_alone,
        "time": {**asdict(plan.time), "seconds": plan.time.seconds, "bound": plan.time.bound, "days": plan.days},
        "tokens_a_second": plan.tokens_a_second,
        "notes": plan.notes,
    }


def _source_cells(sample: SourceSample) -> list[str]:
    means = [f"{sample.mean('tokens'):,.0f}", f"{sample.mean('learned'):,.0f}", f"{sample.mean('views'):.1f}"]
    return [f"{sample.draws:,}", str(len(sample.examples)), str(sample.lost), *means]


def _duration(seconds: float) -> str:
    """In the largest unit of which there are at least two."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{_three_digits(seconds / size)} {unit}"
    return f"{_three_digits(seconds)} seconds"


def _three_digits(number: float) -> str:
    """12,345 or 12.3 or 0.0123."""
    return f"{number:,.0f}" if number >= 100 else f"{number:#.3g}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table
