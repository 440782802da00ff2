"""What an ablation found: a table for the terminal, and tables, scores and plots as files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from .ablation import Ablation, ScoreRow


def spread(scores: Sequence[float]) -> str:
    """Mean and sample standard deviation over seeds, in percent; the score alone where there is one seed."""
    return f"{mean(scores):.1f} ± {stdev(scores):.1f}" if len(scores) > 1 else f"{scores[0]:.1f}"


def ablation_table(ablation: Ablation, rows: Sequence[ScoreRow]) -> Table:
    """The table for the terminal."""
    table = Table(title=ablation.title, box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in _name_headings(ablation):
        table.add_column(heading)
    for column in ablation.columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(ablation, row))
    return table


def _name_headings(ablation: Ablation) -> list[str]:
    return ["trained", "asked"] if ablation.compares_asking else ["trained"]


def _cells(ablation: Ablation, row: ScoreRow) -> list[str]:
    names = [row.arm, row.asked] if ablation.compares_asking else [row.arm]
    return names + [spread(row.scores[column]) for column in ablation.columns]


def write_tables(
    out: Path, ablations: Mapping[str, Ablation], tables: Mapping[str, Sequence[ScoreRow]], seeds: Sequence[int]
) -> None:
    """Write ``ablations.md``, ``ablations.json`` with every seed's scores, and a plot of each ablation into ``out``.

    ablations, tables: name of each ablation -> the ablation, and its rows.
    """
    lines = [f"Percent, mean and standard deviation of seeds {', '.join(map(str, seeds))}.", ""]
    for name, rows in tables.items():
        lines += _markdown(name, ablations[name], rows)
        plot_scores(ablations[name], rows, out / f"{name}.png")
    (out / "ablations.md").write_text("\n".join(lines), encoding="utf-8")
    content: dict[str, object] = {"seeds": list(seeds)}
    for name, rows in tables.items():
        content[name] = [vars(row) for row in rows]
    (out / "ablations.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def _markdown(name: str, ablation: Ablation, rows: Sequence[ScoreRow]) -> list[str]:
    """Lines of an ablation's table: heading, columns, rows, and an empty line at the end."""
    names = _name_headings(ablation)
    lines = [f"**{ablation.title}** (`interleave ablate {name}`)", ""]
    lines.append("| " + " | ".join([*names, *ablation.columns]) + " |")
    lines.append("|" + "---|" * len(names) + "--:|" * len(ablation.columns))
    for row in rows:
        lines.append("| " + " | ".join(_cells(ablation, row)) + " |")
    return [*lines, ""]


def plot_scores(ablation: Ablation, rows: Sequence[ScoreRow], path: Path) -> None:
    """Write a picture: for each column and row a bar of the mean over seeds, and a dot for each seed."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3 + 1.1 * len(ablation.columns), 3.2), layout="constrained")
        axes = figure.subplots()
        width = 0.8 / len(rows)  # of a bar; a column is 1 wide, with a gap of 0.2 to the next
        for number, row in enumerate(rows):
            _draw_row(axes, ablation, row, offset=number * width, width=width)
        middles = [place + 0.4 - width / 2 for place in range(len(ablation.columns))]
        axes.set_xticks(middles, ablation.columns)
        axes.set(ylabel="%", ylim=(0, 103), title=ablation.title)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)


def _draw_row(axes: Axes, ablation: Ablation, row: ScoreRow, offset: float, width: float) -> None:
    label = f"{row.arm}, asked {row.asked}" if ablation.compares_asking else row.arm
    places = [column + offset for column in range(len(ablation.columns))]
    means = [mean(row.scores[column]) for column in ablation.columns]
    axes.bar(places, means, width * 0.9, label=label, alpha=0.7)
    for place, column in zip(places, ablation.columns, strict=True):
        scores = row.scores[column]
        axes.plot([place] * len(scores), scores, "k.", markersize=4)
