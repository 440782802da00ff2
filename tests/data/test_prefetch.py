"""Batches that a thread makes ahead: the same as without it, and nothing of the thread is left at any end."""

import gc
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from small_models import talk
from small_training import STAGE, trainer

import interleave as il
from interleave.core.types import Batch
from interleave.data import packed_loader
from interleave.data.budget import Budget
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource
from interleave.data.gpu_copies import Copies, Copy
from interleave.data.ledger import Ledger
from interleave.data.packed_loader import PackedLoader
from interleave.data.prefetch import prefetched
from interleave.model.assembly import Assembly
from interleave.training.lightning_module import LitInterleaved

BUDGET = Budget(64, 2, 8, lookahead=1.5)


class Broken(il.Dataset):
    """Short samples, of which every seventh cannot be read."""

    def __len__(self) -> int:
        return 500

    def __getitem__(self, index: int) -> il.Sample:
        if index % 7 == 0:
            raise il.BadSample("missing file", f"{index}.png does not exist")
        return talk("x" * (index % 5), answer=str(index))


def source(assembly: Assembly) -> ExampleSource:
    return ExampleSource({"broken": Broken()}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)


class Counted:
    """Numbers, how many were made, in which thread, and whether their generator was closed."""

    def __init__(self, last: int = 1000, fails_at: int | None = None) -> None:
        self.last, self.fails_at = last, fails_at
        self.made, self.closed, self.thread = 0, False, ""

    def items(self) -> Generator[int]:
        try:
            for number in range(self.last):
                if number == self.fails_at:
                    raise KeyError("no such field")
                self.made, self.thread = number + 1, threading.current_thread().name
                yield number
        finally:
            self.closed = True


def eventually(made: Counted, count: int) -> None:
    deadline = time.monotonic() + 60
    while made.made < count and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)  # and no more than that
    assert made.made == count


def no_thread() -> bool:
    return "prefetch" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_thread_is_so_many_ahead_and_no_more(count: int) -> None:
    made = Counted()
    items = prefetched(made.items(), count)
    for taken in range(3):
        assert next(items) == taken
        eventually(made, taken + 1 + count)
    assert made.thread == "prefetch"
    items.close()
    assert made.closed
    assert no_thread()


def test_without_any_ahead_there_is_no_thread() -> None:
    made = Counted(3)
    items = prefetched(made.items(), 0)
    assert next(items) == 0
    assert (made.made, made.thread) == (1, threading.current_thread().name)
    assert list(items) == [1, 2]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_an_error_comes_after_all_that_was_made_before_it(count: int) -> None:
    made = Counted(fails_at=3)
    items = prefetched(made.items(), count)
    assert list(islice(items, 3)) == [0, 1, 2]
    with pytest.raises(KeyError, match="no such field") as caught:
        next(items)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "items", "the place of it"
    assert made.closed
    assert no_thread()


def test_the_thread_ends_with_its_items_and_with_an_iterator_that_nobody_reads_on() -> None:
    assert list(prefetched(Counted(7).items(), 3)) == list(range(7))
    assert no_thread()
    made = Counted()
    items: Iterator[int] = prefetched(made.items(), 2)
    next(items)
    del items
    gc.collect()
    assert made.closed
    assert no_thread()


ENDS = """
import time
from interleave.data import prefetch
prefetch.PATIENCE = 0.2
def slow():
    yield 1
    time.sleep(1000)
    yield 2
items = prefetch.prefetched(slow(), 2)
next(items)
{last}
"""


@pytest.mark.parametrize(("last", "code"), [("", 0), ("raise SystemExit(3)", 3), ("raise KeyboardInterrupt", -2)])
def test_a_thread_that_waits_for_ever_holds_no_interpreter(last: str, code: int) -> None:
    """Such as one that waits for a file of a network that is gone."""
    done = subprocess.run(
        [sys.executable, "-c", ENDS.format(last=last)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_and_cursors_are_those_without_a_thread(assembly: Assembly, num_workers: int) -> None:
    """From the beginning, and from where any of the batches left off."""
    plain = PackedLoader(source(assembly), BUDGET, 5)
    whole = list(islice(plain, 9))
    for begin in (0, 4):
        ahead = PackedLoader(source(assembly), BUDGET, 5, num_workers, prefetch=3)
        if begin:
            ahead.cursor = whole[begin - 1].cursor
            ahead.ledger.restore(plain.ledger.state(ahead.cursor["ledger"]))
        for expected, found in zip(whole[begin:], ahead, strict=False):
            assert expected.input_ids.tolist() == found.input_ids.tolist()
            assert expected.cursor == found.cursor
        assert ahead.ledger.state(whole[-1].cursor["ledger"]) == plain.ledger.state(whole[-1].cursor["ledger"])
    assert no_thread()


def test_a_single_pass_ends_and_begins_again(assembly: Assembly) -> None:
    plain, ahead = (PackedLoader(source(assembly), BUDGET, None, prefetch=n) for n in (0, 2))
    for _ in range(2):
        expected, found = ([batch.input_ids.tolist() for batch in loader] for loader in (plain, ahead))
        assert expected == found


def test_workers_are_forked_from_the_steps_thread(assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another one, torch would not notice at once that one is killed."""
    threads = []
    made = packed_loader.Feed.__init__
    monkeypatch.setattr(
        packed_loader.Feed, "__init__", lambda *a: (threads.append(threading.current_thread().name), made(*a))[1]
    )
    next(iter(PackedLoader(source(assembly), BUDGET, 5, prefetch=2)))
    assert threads == ["MainThread"]


def test_what_was_read_ahead_is_not_counted(assembly: Assembly, tmp_path: Path) -> None:
    """Neither in the ledger that a run leaves, nor in a checkpoint: how far it is depends on the time."""
    plain, ahead = (
        InterleavedData(source(assembly), BUDGET, 5, ledger=Ledger(tmp_path / str(n)), prefetch=n) for n in (0, 6)
    )
    for data in (plain, ahead):
        batches = iter(data.train)
        for batch in islice(batches, 4):
            data.train.cursor = batch.cursor  # type: ignore[assignment]
        if data is ahead:
            deadline = time.monotonic() + 60
            while len(data.train.ledger.entries) <= batch.cursor["ledger"] and time.monotonic() < deadline:
                time.sleep(0.01)
        data.kept = batches  # type: ignore[attr-defined]
    assert len(ahead.train.ledger.entries) > len(plain.train.ledger.entries) > 0
    assert ahead.ledger().entries == plain.ledger().entries
    assert ahead.ledger().read == plain.ledger().read > 0
    assert ahead.state_dict()["ranks"][0]["ledger"] == plain.state_dict()["ranks"][0]["ledger"]  # type: ignore[index]
    counts = ahead.train.ledger.outcomes(ahead.train.cursor["ledger"])
    assert counts == plain.train.ledger.counts


class Sent(Copy):
    """A batch on its way to nowhere; a GPU is not needed for what Lightning does with one."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def arrived(self) -> Batch:
        return self.batch


class SentBatches(Copies):
    def __iter__(self) -> Iterator[Copy]:
        return map(Sent, self.loader)


class SentData(InterleavedData):
    def train_dataloader(self) -> SentBatches:
        return SentBatches(self.train, torch.device("cpu"))


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_a_batch_on_its_way_arrives_in_the_step(assembly: Assembly, precision: str) -> None:
    """Lightning looks into batches, and converts the floats of those that it knows."""
    data = SentData(source(assembly), BUDGET, 5)
    run = trainer(3, precision=precision)
    run.fit(LitInterleaved(assembly.model, STAGE), datamodule=data)
    assert run.global_step == 3
    *_, last = islice(PackedLoader(source(assembly), BUDGET, 5), 3)
    assert data.train.cursor == last.cursor
