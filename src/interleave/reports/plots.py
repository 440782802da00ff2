"""Figures of a report, as PNG in data addresses."""

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

STYLE: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def address(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def curves(run: Path) -> str | None:
    """The losses of every metrics file that the CSV logger left."""
    series: dict[str, list[tuple[int, float]]] = {"train/loss": [], "val/loss": []}
    for path in sorted(run.glob("metrics/version_*/metrics.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, points in series.items():
                    if row.get(name):
                        points.append((int(row["step"]) + 1, float(row[name])))
    if not series["train/loss"]:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 2.8), layout="constrained")
        axes = figure.subplots()
        for (name, points), marker in zip(series.items(), ("", "o"), strict=True):
            if points:
                axes.plot(*zip(*points, strict=True), label=name, marker=marker, markersize=3)
        axes.set(xlabel="step", ylabel="loss per token", yscale="log")
        axes.legend(frameon=False)
        return _drawn(figure)


def radar(columns: Sequence[str], rows: Mapping[str, Sequence[float | None]], ours: Sequence[str]) -> str | None:
    """Each column on a ray of its own, from 0 to the best of all rows; None for fewer than three columns."""
    kept = [i for i in range(len(columns)) if any(rows[name][i] is not None for name in ours)]
    if len(kept) < 3:
        return None
    angles = np.linspace(0, 2 * np.pi, len(kept), endpoint=False)
    best = [max(row[i] or 0 for row in rows.values()) or 1 for i in kept]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 5.2), layout="constrained")
        axes = figure.subplots(subplot_kw={"projection": "polar"})
        for name, row in rows.items():
            values = [(row[i] or 0) / top for i, top in zip(kept, best, strict=True)]
            style = (
                {"linewidth": 2.2, "marker": "o", "markersize": 3} if name in ours else {"linewidth": 1, "alpha": 0.6}
            )
            axes.plot([*angles, angles[0]], [*values, values[0]], label=name, **style)
        labels = [f"{columns[i]}\n{top:.1f}" for i, top in zip(kept, best, strict=True)]
        axes.set_xticks(angles, labels)
        axes.set_yticks([0.25, 0.5, 0.75, 1], [])
        axes.set_ylim(0, 1.02)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.08, 1.05))
        return _drawn(figure)


def _drawn(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return address(buffer.getvalue())
