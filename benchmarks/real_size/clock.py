"""Seconds and peak memory of a block of code: the only place that asks the system for them."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

MIB = 2**20


class Measured(NamedTuple):
    """A line of the table.

    what: was measured.
    seconds: of it.
    peak: MiB, the most that the process held in memory meanwhile.
    before: MiB that it held when the measurement began.
    note: what else there is to say, such as a rate.
    """

    what: str
    seconds: float
    peak: float
    before: float
    note: str = ""


class Clock:
    """Measures blocks one after another; ``lines`` has what came out."""

    def __init__(self) -> None:
        self.lines: list[Measured] = []

    @contextmanager
    def __call__(self, what: str, note: str = "") -> Iterator[None]:
        """Measure the block once, under the name ``what``."""
        forget_peak()
        before, started = resident(), time.perf_counter()
        yield
        self.lines.append(Measured(what, time.perf_counter() - started, peak(), before, note))

    def median(self, what: str, work: Callable[[], object], repeats: int = 5, note: str = "") -> None:
        """Measure ``work`` several times after a first one that does not count; the line has the median."""
        work()
        forget_peak()
        before = resident()
        seconds = []
        for _ in range(repeats):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        self.lines.append(Measured(what, statistics.median(seconds), peak(), before, note))

    def add(self, what: str, seconds: float, note: str = "") -> None:
        """A line for what was timed by the caller, with the peak since the last measurement began."""
        self.lines.append(Measured(what, seconds, peak(), 0.0, note))


def forget_peak() -> None:
    """Let the kernel's record of this process's peak memory begin anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """MiB, the most resident memory since the last ``forget_peak``."""
    return _status("VmHWM")


def resident() -> float:
    """MiB of resident memory now."""
    return _status("VmRSS")


def since_process_began() -> float:
    """Seconds that this process is old, with what Python and its imports took."""
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    # field 22 of stat, in clock ticks of 10 ms; the name in brackets may hold spaces, so count behind it
    ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return uptime - ticks / 100


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024 / MIB  # the file counts KiB
    raise LookupError(field)
