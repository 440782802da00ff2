"""``interleave data stats``: how much of what the sources hold."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from rich import box
from rich.table import Table

from ..data.example_source import Source
from .sample_facts import Facts, survey, wide

PARTS = (("visual", "visual_tokens", "#d9a520"), ("learned text", "learned", "#6dbb84"), ("other text", "", "#b9bec6"))
"""Of the tokens: what it is called, the fact that counts it, and its colour, as on the preview's page."""


def stats(source: Source, out: Path, limit: int | None, num_workers: int) -> dict[str, dict[str, float]]:
    """Print a table, write ``stats.json`` and ``stats.png`` into ``out``. Returns what each source and group has."""
    groups = {name: d.group or name for name, d in source.datasets.items()}
    by_group: dict[str, list[Facts]] = defaultdict(list)
    by_source: dict[str, list[Facts]] = defaultdict(list)
    for facts in survey(source, limit, num_workers):
        if facts.tokens:
            by_group[groups[facts.source]].append(facts)
            by_source[facts.source].append(facts)
    numbers = {name: summary(facts) for name, facts in by_source.items()}
    totals = {name: summary(facts) for name, facts in by_group.items()}
    totals["all"] = summary([f for facts in by_group.values() for f in facts])
    out.mkdir(parents=True, exist_ok=True)
    (out / "stats.json").write_text(json.dumps({"groups": totals, "sources": numbers}, indent=1), encoding="utf-8")
    plot(by_group, out / "stats.png")
    console = wide()
    console.print(table("data stats", totals))
    if set(numbers) != set(totals) - {"all"}:
        console.print(table("by source", numbers))
    console.print(f"plots: {out / 'stats.png'}", soft_wrap=True)
    return {**numbers, **totals}


def summary(facts: Sequence[Facts]) -> dict[str, float]:
    """Sums and shares of some samples."""
    tokens = np.array([f.tokens for f in facts] or [0])
    visuals = sum((f.visuals for f in facts), Counter[str]())
    return {
        "samples": len(facts),
        "tokens": int(tokens.sum()),
        "median": float(np.median(tokens)),
        "95%": float(np.quantile(tokens, 0.95)),
        "longest": int(tokens.max()),
        "visual": sum(f.visual_tokens for f in facts) / max(1, tokens.sum()),
        "learned": sum(f.learned for f in facts) / max(1, tokens.sum()),
        "views": sum(f.views for f in facts),
        "visuals": visuals.total(),
        **{f"visuals/{kind}": count for kind, count in visuals.items()},
    }


def table(title: str, numbers: Mapping[str, Mapping[str, float]]) -> Table:
    """One line for each group or source."""
    columns = list(next(iter(numbers.values()), {}))
    columns = [column for column in columns if "/" not in column]
    drawn = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        caption="tokens of a sample: median, 95%, longest; share of tokens: visual, learned",
    )
    drawn.add_column("", no_wrap=True)
    for column in columns:
        drawn.add_column(column, justify="right")
    for name, row in numbers.items():
        cells = [row.get(c) for c in columns]
        shares = [c in ("visual", "learned") for c in columns]
        told = ["" if x is None else f"{x:.1%}" if s else f"{x:,.0f}" for x, s in zip(cells, shares, strict=True)]
        drawn.add_row(name, *told)
    return drawn


def plot(groups: Mapping[str, Sequence[Facts]], path: Path) -> None:
    """Lengths and views by group, each group's total being 1, and what the tokens are."""
    colours = dict(zip(groups, matplotlib.color_sequences["tab10"] * (1 + len(groups) // 10), strict=False))
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(12, 3.4 + 0.12 * max(0, len(groups) - 8)), layout="constrained")
        lengths, views, shares = figure.subplots(1, 3)
        for axes, of in ((lengths, "tokens"), (views, "views")):
            for name, facts in groups.items():
                values = np.sort([getattr(f, of) for f in facts])
                axes.ecdf(values, label=f"{name} ({len(values):,})", color=colours[name])
            axes.set(xlabel=f"{of} a sample, at most", ylabel="share of samples", ylim=(0, 1.02))
        lengths.set_xscale("log")
        lengths.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        lengths.xaxis.set_major_formatter("{x:,.0f}")
        lengths.xaxis.set_minor_formatter("")
        views.xaxis.set_major_locator(MaxNLocator(integer=True))
        _parts(shares, groups)
        if groups:
            lengths.legend(frameon=False, fontsize=8)
        figure.savefig(path, dpi=130)


def _parts(axes: Axes, groups: Mapping[str, Sequence[Facts]]) -> None:
    """What the tokens of each group are, as bars from the top."""
    names, left = list(groups), np.zeros(len(groups))
    total = np.array([sum(f.tokens for f in groups[n]) for n in names], float)
    for part, of, colour in PARTS:
        taken = np.array([sum(getattr(f, of) for f in groups[n]) for n in names], float) if of else total - left
        axes.barh(names, taken, left=left, label=part, color=colour)
        left = left + taken
    axes.invert_yaxis()
    axes.set(xlabel="tokens")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
