"""A task of nine items, one of which cannot be read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import interleave as il


class Colours(il.Task):
    """Items of two groups under two conditions; the third cannot be read."""

    generation: Mapping[str, Any] = {"max_new_tokens": 3}

    def records(self) -> Sequence[Mapping[str, Any]]:
        return [{"id": i, "unreadable": i == 2} for i in range(9)]

    def sample(self, record: Mapping[str, Any]) -> il.Sample:
        path = "nowhere.png" if record["unreadable"] else np.full((8, 8, 3), record["id"], np.uint8)
        return il.Sample([il.Message("user", ["x" * record["id"], il.Media("image", path)])])

    def answer(self, record: Mapping[str, Any]) -> str:
        return "a"

    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        return {"accuracy": record["id"] % 2}

    def group(self, record: Mapping[str, Any]) -> str:
        return "low/even" if record["id"] % 2 == 0 else "low/odd"

    def chance(self, record: Mapping[str, Any]) -> float:
        return 0.25
