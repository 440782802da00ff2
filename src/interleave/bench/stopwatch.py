"""Seconds of sides that take turns, and how they grow: the only place of the benchmarks that times anything."""

import math
import statistics
import time
from collections.abc import Callable, Mapping

import torch

Side = Callable[[], object]
"""One of several ways of doing the same."""


def alternate(sides: Mapping[str, Side], rounds: int) -> dict[str, float]:
    """Median seconds of each side. Sides take turns, so that a machine that slows down slows all of them; the first
    round sets things up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            spent = _timed(side)
            if number:
                seconds[name].append(spent)
    return {name: statistics.median(all_rounds) for name, all_rounds in seconds.items()}


def growth_exponent(seconds: Mapping[int, float]) -> float:
    """The b of seconds = a * size ** b, by least squares on logarithms. seconds: by size, at least two."""
    points = [(math.log(size), math.log(spent)) for size, spent in seconds.items()]
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return covariance / sum((x - mean_x) ** 2 for x, _ in points)


def _timed(side: Side) -> float:
    """Wall seconds of one call, with the work that it left to a GPU."""
    _wait()
    started = time.perf_counter()
    side()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
