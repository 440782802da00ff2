"""``interleave data stats``: how many tokens, visuals and views the sources hold."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from ..core.files import replacing
from ..data.example_source import ExampleSource
from .sample_facts import Facts, survey, wide_console

TOKEN_PARTS = (
    ("visual", "visual_tokens", "#d9a520"),
    ("learned text", "learned", "#6dbb84"),
    ("other text", "", "#b9bec6"),
)
"""What tokens are, each as (label, field of ``Facts`` that counts them or "" for the rest, colour as on the preview's
page)."""
SHARES = ("visual", "learned")
"""Columns of the table that are shares from 0 to 1; all others are counts."""

Summary = dict[str, float]
"""Name of a number -> the number, for some samples together."""


def stats(source: ExampleSource, out: Path, limit: int | None, num_workers: int) -> dict[str, Summary]:
    """Read samples, print a table, and write ``stats.json`` and ``stats.png``.

    source: the data sets and how they are rendered.
    out: a folder.
    limit: samples of each source at most, spread over it; None for all.
    num_workers: processes that read; 0 for this one.

    Returns a summary by name of each source and of each group, and of ``all``.
    """
    # a source without a group is one by itself
    groups = {name: dataset.group or name for name, dataset in source.datasets.items()}
    by_group: dict[str, list[Facts]] = defaultdict(list)
    by_source: dict[str, list[Facts]] = defaultdict(list)
    for facts in survey(source, limit, num_workers):
        if facts.tokens:  # else it could not be rendered
            by_group[groups[facts.source]].append(facts)
            by_source[facts.source].append(facts)
    sources = {name: summary(facts) for name, facts in by_source.items()}
    totals = {name: summary(facts) for name, facts in by_group.items()}
    totals["all"] = summary(list(chain.from_iterable(by_group.values())))
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "stats.json") as part:
        part.write_text(json.dumps({"groups": totals, "sources": sources}, indent=1), encoding="utf-8")
    with replacing(out / "stats.png") as part:
        plot_facts(by_group, part)
    console = wide_console()
    console.print(facts_table("data stats", totals))
    # where no source has a group, both tables would be the same
    if set(sources) != set(totals) - {"all"}:
        console.print(facts_table("by source", sources))
    console.print(f"plots: {out / 'stats.png'}", soft_wrap=True)
    return {**sources, **totals}


def summary(facts: Sequence[Facts]) -> Summary:
    """Sums, quantiles of the lengths in tokens, and the shares of tokens that are visual and that are learned."""
    tokens = np.array([f.tokens for f in facts] or [0])  # (samples,)
    visuals = sum((f.visuals for f in facts), Counter[str]())
    numbers: Summary = {
        "samples": len(facts),
        "tokens": int(tokens.sum()),
        "median": float(np.median(tokens)),
        "95%": float(np.quantile(tokens, 0.95)),
        "longest": int(tokens.max()),
        "visual": _sum(facts, "visual_tokens") / max(1, tokens.sum()),
        "learned": _sum(facts, "learned") / max(1, tokens.sum()),
        "views": _sum(facts, "views"),
        "visuals": visuals.total(),
    }
    for kind, count in visuals.items():
        numbers[f"visuals/{kind}"] = count
    return numbers


def _sum(facts: Sequence[Facts], fact: str) -> int:
    """A field of ``Facts`` summed up."""
    total: int = sum(getattr(f, fact) for f in facts)
    return total


def facts_table(title: str, summaries: Mapping[str, Summary]) -> Table:
    """One line for each group or source; numbers by modality are left to ``stats.json``."""
    drawn = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        caption="tokens of a sample: median, 95%, longest; share of tokens: visual, learned",
    )
    drawn.add_column("", no_wrap=True)
    first: Summary = next(iter(summaries.values()), {})
    columns = [column for column in first if "/" not in column]  # "visuals/video" and the like vary by row
    for column in columns:
        drawn.add_column(column, justify="right")
    for name, numbers in summaries.items():
        drawn.add_row(name, *(_cell(column, numbers.get(column)) for column in columns))
    return drawn


def _cell(column: str, number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:.1%}" if column in SHARES else f"{number:,.0f}"


def plot_facts(groups: Mapping[str, Sequence[Facts]], path: Path) -> None:
    """Draw three plots side by side into a PNG file: lengths and views of a sample by group, each as its cumulative
    distribution, and what the tokens of each group are.
    """
    colours = dict(zip(groups, matplotlib.color_sequences["tab10"] * (1 + len(groups) // 10), strict=False))
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(12, 3.4 + 0.12 * max(0, len(groups) - 8)), layout="constrained")  # inches
        lengths, views, shares = figure.subplots(1, 3)
        for axes, fact in ((lengths, "tokens"), (views, "views")):
            for name, facts in groups.items():
                values = np.sort([getattr(f, fact) for f in facts])  # (samples,)
                axes.ecdf(values, label=f"{name} ({len(values):,})", color=colours[name])
            axes.set(xlabel=f"{fact} a sample, at most", ylabel="share of samples", ylim=(0, 1.02))
        lengths.set_xscale("log")
        lengths.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        lengths.xaxis.set_major_formatter("{x:,.0f}")
        lengths.xaxis.set_minor_formatter("")
        views.xaxis.set_major_locator(MaxNLocator(integer=True))
        _plot_parts(shares, groups)
        if groups:  # a legend without entries is a warning
            lengths.legend(frameon=False, fontsize=8)
        figure.savefig(path, format="png", dpi=130)


def _plot_parts(axes: Axes, groups: Mapping[str, Sequence[Facts]]) -> None:
    """What the tokens of each group are, as stacked horizontal bars from the top."""
    names = list(groups)
    left = np.zeros(len(groups))  # (groups,) where the next part of each bar begins
    total = _sums(groups, "tokens")
    for part, fact, colour in TOKEN_PARTS:
        taken = _sums(groups, fact) if fact else total - left
        axes.barh(names, taken, left=left, label=part, color=colour)
        left = left + taken
    axes.invert_yaxis()
    axes.set(xlabel="tokens")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))


def _sums(groups: Mapping[str, Sequence[Facts]], fact: str) -> NDArray[np.float64]:
    """A field of ``Facts`` summed up for each group: (groups,)."""
    return np.array([_sum(facts, fact) for facts in groups.values()], float)
