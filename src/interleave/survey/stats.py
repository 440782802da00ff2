"""``interleave data stats``: how much of what the sources hold."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from ..source import Source
from .reading import Facts, survey, wide


def stats(source: Source, out: Path, limit: int | None, workers: int) -> dict[str, dict[str, float]]:
    """Print a table, write ``stats.json`` and ``stats.png`` into ``out``. Returns what each source and group has."""
    groups = {name: d.group or name for name, d in source.datasets.items()}
    by_group: dict[str, list[Facts]] = defaultdict(list)
    by_source: dict[str, list[Facts]] = defaultdict(list)
    for facts in survey(source, limit, workers):
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
    """Lengths and views by group, and what the tokens are."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        lengths, views, shares = figure.subplots(1, 3)
        longest = max((f.tokens for facts in groups.values() for f in facts), default=1)
        bins = np.geomspace(8, max(16, longest), 40)
        for name, facts in groups.items():
            lengths.hist([f.tokens for f in facts], bins, histtype="step", label=name)
            counts = Counter(f.views for f in facts)
            views.plot(*zip(*sorted(counts.items()), strict=True), marker="o", markersize=3, label=name)
        lengths.set(xscale="log", xlabel="tokens a sample", ylabel="samples")
        views.set(xlabel="views a sample", ylabel="samples", yscale="symlog")
        if groups:
            lengths.legend(frameon=False)
        names, left = list(groups), np.zeros(len(groups))
        for part, of in (("visual", "visual_tokens"), ("learned text", "learned"), ("other text", "")):
            total = np.array([sum(f.tokens for f in groups[n]) for n in names], float)
            taken = np.array([sum(getattr(f, of) for f in groups[n]) if of else 0 for n in names], float)
            width = taken if of else total - left
            shares.barh(names, width, left=left, label=part)
            left = left + width
        shares.set(xlabel="tokens")
        shares.legend(frameon=False, fontsize=8)
        figure.savefig(path, dpi=130)
