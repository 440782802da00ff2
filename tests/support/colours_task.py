"""A task of nine items, one of which cannot be read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import interleave as il

Record = Mapping[str, Any]


class Colours(il.Task):
    """Nine items in two groups of one row. The third item's picture does not exist. Odd items score 1, others 0."""

    generation: Mapping[str, Any] = {"max_new_tokens": 3}

    def records(self) -> Sequence[Record]:
        return [{"id": i, "unreadable": i == 2} for i in range(9)]

    def sample(self, record: Record) -> il.Sample:
        path = "nowhere.png" if record["unreadable"] else np.full((8, 8, 3), record["id"], np.uint8)
        return il.Sample([il.Message("user", ["x" * record["id"], il.Media("image", path)])])

    def answer(self, record: Record) -> str:
        return "a"

    def score(self, record: Record, reply: str) -> dict[str, float]:
        return {"accuracy": record["id"] % 2}

    def group(self, record: Record) -> str:
        return "low/even" if record["id"] % 2 == 0 else "low/odd"

    def chance(self, record: Record) -> float:
        return 0.25
