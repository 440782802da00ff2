"""LLaVA-Interleave Bench: its tasks, data sets, files and columns, for the scorer, the task plugin and reports."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import TypeAdapter

Domain = Literal["in", "out", "3d", "dropped"]
FILES: Mapping[Domain, str] = {
    "in": "multi_image_in_domain.json",
    "out": "multi_image_out_domain.json",
    "3d": "multi_view_in_domain.json",
    "dropped": "multi_image_in_domain.json",
}
ROWS: Mapping[str, int] = {"multi_image_out_domain.json": 3356, "multi_view_in_domain.json": 22377}
"""Records of the released files, where the number is known."""


@dataclass(frozen=True)
class BenchTask:
    """One task. released: how the released scorer spells it, where that is another way."""

    column: str
    domain: Domain
    datasets: tuple[str, ...]
    metric: Literal["rouge_l", "accuracy"]
    """Expected of its data sets; the question_type of a data set's first item decides."""
    file: str = ""
    released: str = ""

    @property
    def path(self) -> str:
        return self.file or FILES[self.domain]


BENCH: Mapping[str, BenchTask] = TypeAdapter(dict[str, BenchTask]).validate_python(
    yaml.safe_load(files(__package__).joinpath("interleave_bench.yaml").read_text(encoding="utf-8"))
)
TASK_OF: Mapping[str, str] = {dataset: name for name, task in BENCH.items() for dataset in task.datasets}


def released_rows(parts: Collection[str]) -> int | None:
    """Records that the released files hold of these tasks; None where that is not known."""
    names = {BENCH[part].path for part in parts}
    whole = all(name in parts for name, task in BENCH.items() if task.path in names)
    return sum(ROWS[name] for name in names) if whole and names <= ROWS.keys() else None
