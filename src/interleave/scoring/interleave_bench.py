"""LLaVA-Interleave Bench: its tasks, data sets, files and columns, for the scorer, the task plugin and reports."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import TypeAdapter

Domain = Literal["in", "out", "3d", "dropped"]
"""A part of the paper's table: multi-image in-domain, multi-image out-domain, multi-view. ``dropped`` is scored by the
released code and missing from the table."""
ANNOTATION_FILES: Mapping[Domain, str] = {
    "in": "multi_image_in_domain.json",
    "out": "multi_image_out_domain.json",
    "3d": "multi_view_in_domain.json",
    "dropped": "multi_image_in_domain.json",
}
"""Domain -> the released file that holds its records."""
RELEASED_RECORDS: Mapping[str, int] = {"multi_image_out_domain.json": 3356, "multi_view_in_domain.json": 22377}
"""Number of records in each released file whose size is known."""


@dataclass(frozen=True)
class BenchTask:
    """One task of the benchmark.

    column: heading of the task in the paper's table, such as ``SD``.
    domain: the part of the benchmark that it belongs to.
    datasets: its data sets, named as in ``metadata.dataset`` of the records.
    metric: the one expected of its data sets; the question_type of a data set's first item decides.
    file: the annotation file, where it is not the one of the domain.
    released: the released scorer's spelling of the task's name, where it differs.
    """

    column: str
    domain: Domain
    datasets: tuple[str, ...]
    metric: Literal["rouge_l", "accuracy"]
    file: str = ""
    released: str = ""

    @property
    def path(self) -> str:
        """Name of the annotation file."""
        return self.file or ANNOTATION_FILES[self.domain]


BENCH: Mapping[str, BenchTask] = TypeAdapter(dict[str, BenchTask]).validate_python(
    yaml.safe_load(files(__package__).joinpath("interleave_bench.yaml").read_text(encoding="utf-8"))
)
"""Name of each task -> the task, in the order of the paper's table."""
TASK_OF: Mapping[str, str] = {dataset: name for name, task in BENCH.items() for dataset in task.datasets}
"""Data set -> name of its task."""


def released_rows(parts: Collection[str]) -> int | None:
    """Number of records that the released files hold of the tasks ``parts``; None where it is not known.

    It is known only where all tasks of a file are among them, since only the sizes of whole files are known.
    """
    names = {BENCH[part].path for part in parts}
    for name, task in BENCH.items():
        if task.path in names and name not in parts:
            return None
    if not names <= RELEASED_RECORDS.keys():
        return None
    return sum(RELEASED_RECORDS[name] for name in names)
