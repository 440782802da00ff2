"""``report.html``, one file that asks for nothing outside, and ``report.md`` with the same tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader

from ..core.files import replacing
from ..interfaces.task import Task
from . import paper_tables
from .gallery import Gallery, cards
from .plots import loss_curves, radar
from .read_runs import Run
from .task_tables import AS_IT_IS, TaskTable, differences, task_names, task_table
from .training_facts import TrainingFacts, training_facts

ITEMS = 12
"""Items of each group that a page shows."""
BASELINES = ("GPT-4V", "Interleave 0.5B", "Interleave 7B", "Interleave 14B")
"""Published rows that the radar plot has."""


@dataclass(frozen=True)
class RunFacts:
    """What the head of a page says of a run.

    name: of the run.
    facts: name of a fact -> the fact in words: model, overrides, versions, judge, as far as they are known.
    training: how the model was trained; None where its folder does not say.
    curves: its losses, where it was trained in the run's folder.
    """

    name: str
    facts: Mapping[str, str]
    training: TrainingFacts | None
    curves: str | None


def write_report(
    runs: Sequence[Run], out: Path, tasks: Mapping[str, Task], items: int = ITEMS, seconds: float | None = None
) -> Path:
    """Write ``report.html`` and ``report.md`` into ``out``. Returns the path of the former.

    tasks: open the pictures of the runs' items and explain their groups; items of other tasks are shown as text.
    items: how many of each group. seconds: from the start of a training run to its report.
    """
    content = _content(runs, tasks, items, seconds)
    # the HTML page shows what models and files said, which must not become markup
    for name, escaped in (("report.html", True), ("report.md", False)):
        environment = Environment(
            loader=PackageLoader("interleave.reports", ""), autoescape=escaped, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters["percent"] = _percent
        page = environment.get_template(f"{name}.jinja").render(content)
        with replacing(out / name) as part:
            part.write_text(page, encoding="utf-8")
    return out / "report.html"


def _content(runs: Sequence[Run], tasks: Mapping[str, Task], items: int, seconds: float | None) -> Mapping[str, object]:
    """What the templates may name."""
    gallery = Gallery()
    tables: dict[str, TaskTable] = {}
    explained: dict[str, Mapping[str, str]] = {}  # task -> what its groups ask
    for name in task_names(runs):
        tables[name] = task_table(runs, name, tasks.get(name))
        explained[name] = _whole_groups(tables[name])
    skipped: list[str] = []
    for run in runs:
        skipped += [f"{run.name}: {line}" for line in run.content.get("skipped", [])]
    return {
        "title": " and ".join(run.name for run in runs),
        "runs": [run_facts(run) for run in runs],
        # only the training run itself knows how long it took
        "minutes": None if seconds is None else seconds / 60,
        "papers": [(table, _radar(table)) for table in paper_tables.tables(runs)],
        "tasks": tables,
        "explained": explained,
        "as_it_is": AS_IT_IS,
        "differences": list(differences(runs)),
        "cards": list(cards(runs, tasks, gallery, items)),
        "skipped": skipped,
        "pictures": gallery.pictures,
        "json": json.dumps,
    }


def run_facts(run: Run) -> RunFacts:
    """What the head of a page says of a run, from its files."""
    content = run.content
    model = content.get("model", run.folder.name)
    versions = [f"{name} {number}" for name, number in content.get("versions", {}).items()]
    judges = [f"{task}: {judge.get('model', judge)}" for task, judge in content.get("judge", {}).items()]
    facts = {
        "model": model,
        "overrides": ", ".join(content.get("overrides", ())),
        "versions": ", ".join(versions),
        "judge": ", ".join(judges),
    }
    known = {name: fact for name, fact in facts.items() if fact}
    # an evaluation may stand in another folder than the model
    training = training_facts(run.folder) or training_facts(Path(model))
    return RunFacts(run.name, known, training, loss_curves(run.folder))


def _radar(table: paper_tables.Table) -> str | None:
    baselines = {name: row for name, row in table.theirs.items() if name in BASELINES}
    return radar(table.columns, {**baselines, **table.ours}, list(table.ours))


def _whole_groups(table: TaskTable) -> dict[str, str]:
    """Groups that are no part of another one -> what they ask, where the task says so."""
    return {row.group: row.asks for row in table.rows if row.asks and "/" not in row.group}


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
