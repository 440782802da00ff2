"""What a model was trained on, how long, and how large it is: read from its folder, as far as the folder says."""

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

CONFIG, WEIGHTS, METRICS = "config.yaml", "model.safetensors", "metrics/version_*/metrics.csv"
CONFIG_PARTS = {
    "vision_encoder": "vision encoder",
    "projector": "projector",
    "llm": "language model",
    "modality": "modalities",
}
"""First word of a tensor's name -> what a reader calls that part."""


@dataclass(frozen=True)
class TrainingFacts:
    """What is known of a training run; None or empty where its folder does not say.

    data: names of the data sets.
    init: the model whose weights it began with; None for a model that began at random weights.
    steps: optimiser steps.
    rows, row_tokens: of a step on each device: packed rows, and tokens in each.
    parameters: of each part, by its name.
    """

    data: tuple[str, ...] = ()
    init: str | None = None
    steps: int | None = None
    rows: int | None = None
    row_tokens: int | None = None
    parameters: Mapping[str, int] | None = None

    def sentence(self) -> str:
        """What is known, in words."""
        text = f"On the data {', '.join(self.data)}" if self.data else "On data that its folder does not name"
        if self.init:
            text += f", from the weights of {self.init}"
        if self.steps:
            text += f", for {self.steps:,} steps"
        if self.steps and self.rows and self.row_tokens:
            text += f" of {self.rows:,} rows of {self.row_tokens:,} tokens on each device"
        if self.parameters:
            parts = [f"{part} {count:,}" for part, count in self.parameters.items()]
            text += f". {sum(self.parameters.values()):,} parameters: {', '.join(parts)}"
        return f"{text}."


def training_facts(folder: Path) -> TrainingFacts | None:
    """None for a folder that no training run has written, such as one of a published checkpoint."""
    path = folder / CONFIG
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    if not isinstance(config, dict) or "trainer" not in config:
        return None
    data, trainer = config.get("data") or {}, config["trainer"] or {}
    rows = data.get("batch_size")
    return TrainingFacts(
        data=tuple(config.get("dataset") or ()),
        init=config.get("init"),
        steps=_last_step(folder) or trainer.get("max_steps"),
        # a step adds up the gradients of several micro-batches
        rows=rows * (trainer.get("accumulate_grad_batches") or 1) if rows else None,
        row_tokens=data.get("sequence_length"),
        parameters=count_parameters(folder / WEIGHTS),
    )


def metric_rows(folder: Path) -> Iterator[Mapping[str, str]]:
    """Rows of every file that the CSV logger left in a run's folder, the oldest file first."""
    for path in sorted(folder.glob(METRICS)):
        with path.open(newline="") as file:
            yield from csv.DictReader(file)


def _last_step(folder: Path) -> int | None:
    """Optimiser steps until the last one that was logged; None without a log."""
    steps = [int(row["step"]) for row in metric_rows(folder) if row.get("step")]
    return max(steps) + 1 if steps else None  # the log counts from 0


def count_parameters(weights: Path) -> dict[str, int] | None:
    """Numbers in the tensors of each part, from the head of a safetensors file; None where there is no such file."""
    if not weights.is_file():
        return None
    with weights.open("rb") as file:
        head_size = int.from_bytes(file.read(8), "little")  # the format begins with the length of its JSON head
        head = json.loads(file.read(head_size))
    counts: Counter[str] = Counter()
    for name, tensor in head.items():
        part = CONFIG_PARTS.get(name.partition(".")[0])
        if part:  # not the head's own metadata, nor tensors that are only kept for exports
            counts[part] += math.prod(tensor["shape"])
    return dict(counts)
