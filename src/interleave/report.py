"""A run's folder -> ``report.html``: one file with curves, tables and a gallery, no outside request."""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure
from PIL import Image

from .interfaces import Task
from .media import list_frames, load_image
from .results import Results
from .sample import Media
from .types import BadSample
from .video import load_frames

GALLERY = 4
"""Items shown of each group, right and wrong ones alike."""


def write_report(run: Path, tasks: Mapping[str, Task], seconds: float) -> Path:
    """Reads what training and evaluation left in ``run``."""
    content = json.loads((run / "results.json").read_text(encoding="utf-8"))
    with (run / "replies.jsonl").open(encoding="utf-8") as file:
        replies = [json.loads(line) for line in file]
    environment = Environment(loader=PackageLoader("interleave", ""), autoescape=True, trim_blocks=True)
    page = environment.get_template("report.html.jinja").render(
        run=run,
        minutes=seconds / 60,
        curves=curves(run),
        results=content["results"],
        skipped=content["skipped"],
        rows=rows(content["results"]),
        gallery=gallery(replies, tasks),
    )
    path = run / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def rows(results: Results) -> dict[str, list[dict[str, Any]]]:
    """task -> table rows: a group, its score under each condition, chance, number of items."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for task, conditions in results.items():
        plain = next(iter(conditions.values()))
        tables[task] = [
            {
                "group": group,
                "scores": [next(iter(c[group].values())) if group in c else None for c in conditions.values()],
                "chance": metrics.get("chance"),
                "n": metrics["n"],
            }
            for group, metrics in plain.items()
        ]
    return tables


def curves(run: Path) -> str | None:
    """The losses of every metrics file that the CSV logger left, as a PNG in a data address."""
    series: dict[str, list[tuple[int, float]]] = {"train/loss": [], "val/loss": []}
    for path in sorted(run.glob("metrics/version_*/metrics.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, points in series.items():
                    if row.get(name):
                        points.append((int(row["step"]) + 1, float(row[name])))
    if not series["train/loss"]:
        return None
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7, 2.8), layout="constrained")
        axes = figure.subplots()
        for (name, points), marker in zip(series.items(), ("", "o"), strict=True):
            if points:
                axes.plot(*zip(*points, strict=True), label=name, marker=marker, markersize=3)
        axes.set(xlabel="step", ylabel="loss per token", yscale="log")
        axes.legend(frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
    return _address(buffer)


def gallery(replies: Sequence[Mapping[str, Any]], tasks: Mapping[str, Task]) -> dict[str, list[dict[str, Any]]]:
    """The first items of every group as they were asked, with pictures, reply and truth; wrong ones come first."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for name, task in tasks.items():
        records = task.records()
        mine = [r for r in replies if r["task"] == name and r["scores"]]
        first = mine[0]["condition"] if mine else ""
        for group in sorted({r["group"] for r in mine}):
            items = [r for r in mine if r["group"] == group and r["condition"] == first]
            items.sort(key=lambda r: next(iter(r["scores"].values())))
            wrong = [r for r in items if next(iter(r["scores"].values())) < 1][: GALLERY // 2]
            chosen = [*wrong, *reversed(items[len(items) - (GALLERY - len(wrong)) :])][:GALLERY]
            shown[f"{name}: {group}"] = [{**r, "parts": parts(task, records[r["index"]])} for r in chosen]
    return shown


def parts(task: Task, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was asked, in order: ``{"text"}`` or ``{"pictures"}``."""
    try:
        turns = task.sample(record).turns
        return [
            {"pictures": [_picture(p) for p in pictures(part)]} if isinstance(part, Media) else {"text": part}
            for turn in turns
            for part in turn.content
        ]
    except BadSample as bad:
        return [{"text": str(bad)}]


def pictures(media: Media) -> list[Image.Image]:
    """What a person looks at: the picture itself, or up to eight frames or views."""
    data = media.data
    if isinstance(data, (str, Path)) and not Path(data).is_dir() and media.kind != "video":
        return [load_image(data)]
    if media.kind == "video":
        return load_frames(data, 8)[0]
    return [load_image(p) for p in list_frames(data)[:8]] if isinstance(data, (list, str, Path)) else [load_image(data)]


def _picture(image: Image.Image) -> str:
    small = image.copy()
    small.thumbnail((256, 256))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return _address(buffer)


def _address(buffer: io.BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
