"""Figures of a report, as PNG in data addresses."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .training_facts import metric_rows

STYLE = matplotlib.RcParams({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
LOSSES = {"train/loss": "", "val/loss": "o"}
"""Column of the log -> marker of its points."""
MIN_RAYS = 3
"""Of a radar plot: fewer enclose no area."""


def data_address(data: bytes, form: str = "png") -> str:
    """A picture's bytes as an address that needs no file. form: ``png`` or ``jpeg``."""
    return f"data:image/{form};base64,{base64.b64encode(data).decode()}"


def loss_curves(run: Path) -> str | None:
    """The losses that the CSV logger left in a run's folder, over steps; None without any of training."""
    points: dict[str, list[tuple[int, float]]] = {name: [] for name in LOSSES}
    for row in metric_rows(run):
        for name in LOSSES:
            if row.get(name):
                points[name].append((int(row["step"]) + 1, float(row[name])))  # the log counts from 0
    if not points["train/loss"]:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 2.8), layout="constrained")
        axes = figure.subplots()
        for name, marker in LOSSES.items():
            if points[name]:
                steps, losses = zip(*points[name], strict=True)
                axes.plot(steps, losses, label=name, marker=marker, markersize=3)
        axes.set(xlabel="step", ylabel="loss per token", yscale="log")
        axes.legend(frameon=False)
        return _as_png(figure)


def radar(columns: Sequence[str], rows: Mapping[str, Sequence[float | None]], ours: Sequence[str]) -> str | None:
    """Each column on a ray of its own, from 0 to the best of all rows; None for fewer than three columns.

    rows: name -> a number for each column. ours: the rows that are drawn thick; columns in which none of them has a
    number are left out.
    """
    kept = []  # columns in which a row of ours has a number
    for i in range(len(columns)):
        if any(rows[name][i] is not None for name in ours):
            kept.append(i)
    if len(kept) < MIN_RAYS:
        return None
    angles = np.linspace(0, 2 * np.pi, len(kept), endpoint=False)  # (rays,) in radians
    best = []  # of each ray, at the rim; 1 where all rows have 0
    for i in kept:
        best.append(max(row[i] or 0 for row in rows.values()) or 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 5.2), layout="constrained")
        axes = figure.subplots(subplot_kw={"projection": "polar"})
        for name, row in rows.items():
            radii = [(row[i] or 0) / top for i, top in zip(kept, best, strict=True)]  # 1 at the rim
            closed = [*angles, angles[0]], [*radii, radii[0]]
            if name in ours:
                axes.plot(*closed, label=name, linewidth=2.2, marker="o", markersize=3)
            else:
                axes.plot(*closed, label=name, linewidth=1, alpha=0.6)
        labels = [f"{columns[i]}\n{top:.1f}" for i, top in zip(kept, best, strict=True)]
        axes.set_xticks(angles, labels)
        axes.set_yticks([0.25, 0.5, 0.75, 1], [])
        axes.set_ylim(0, 1.02)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.08, 1.05))
        return _as_png(figure)


def _as_png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return data_address(buffer.getvalue())
