"""A loader worker that is killed, as the system does for want of memory, ends the loader with one line."""

import multiprocessing
import os
import signal
import time
from itertools import islice

import pytest
from small_models import talk

import interleave as il
from interleave.data.budget import Budget
from interleave.data.example_source import ExampleSource
from interleave.data.packed_loader import PackedLoader
from interleave.model.assembly import Assembly

LINE = r"^DataLoader worker \(pid.*(Killed|exited unexpectedly).* Mostly memory has run out: each of data\.num_workers"
BOUND = 60
"""Seconds; torch asks for dead workers every five, and the thread of a loader is waited for ten."""


class Short(il.Dataset):
    """A thousand short samples. The process that reads the one called ``deadly`` is killed."""

    def __init__(self, deadly: int = -1) -> None:
        self.deadly, self.reader = deadly, os.getpid()

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> il.Sample:
        if index == self.deadly and os.getpid() != self.reader:
            os.kill(os.getpid(), signal.SIGKILL)
        return talk("x" * (index % 5), answer=str(index))


def loader(assembly: Assembly, data: il.Dataset, prefetch: int, seed: int | None = 5) -> PackedLoader:
    source = ExampleSource({"short": data}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    return PackedLoader(source, Budget(64, 2, 8, lookahead=1.5), seed, num_workers=2, prefetch=prefetch)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_one_that_is_killed_in_a_step_is_told_when_the_next_batch_is_waited_for(
    assembly: Assembly, prefetch: int
) -> None:
    """Not in the middle of the step, where other ranks would wait in its collectives."""
    batches = iter(loader(assembly, Short(), prefetch))
    next(batches)
    victim = multiprocessing.active_children()[0]
    assert victim.pid
    os.kill(victim.pid, signal.SIGKILL)
    time.sleep(0.5)  # the step; the signal has come
    begun = time.monotonic()
    with pytest.raises(il.InputError, match=LINE):
        list(islice(batches, 100))
    assert time.monotonic() - begun < BOUND


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("seed", [5, None])
def test_one_that_dies_while_a_batch_is_waited_for(assembly: Assembly, prefetch: int, seed: int | None) -> None:
    begun = time.monotonic()
    with pytest.raises(il.InputError, match=LINE):
        list(islice(loader(assembly, Short(deadly=300), prefetch, seed), 200))
    assert time.monotonic() - begun < BOUND


def test_the_next_loader_knows_nothing_of_it(assembly: Assembly) -> None:
    with pytest.raises(il.InputError, match=LINE):
        list(islice(loader(assembly, Short(deadly=300), 2), 200))
    assert len(list(islice(loader(assembly, Short(), 2), 3))) == 3


def test_rows_to_look_at_end_with_it_too(assembly: Assembly) -> None:
    with pytest.raises(il.InputError, match=LINE):
        list(islice(loader(assembly, Short(deadly=300), 0).packed(), 200))
