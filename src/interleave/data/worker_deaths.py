"""Loader workers that are ended from outside, such as for want of memory: one line, where batches are waited for."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import TypeVar

from ..core.errors import InputError, one_line

T = TypeVar("T")


class _Watch:
    """Keeps what torch's handler of the signal raises until batches are waited for.

    Left alone, that handler raises in the main thread wherever it is, such as between two collectives of a step, in
    which the other ranks would wait for it. There is one of it, as of the signal's handler.

    error: what torch said of a dead worker that nobody was told of. waits: whether batches are waited for now.
    """

    def __init__(self) -> None:
        self.error: RuntimeError | None = None
        self.waits = False
        self._torch: object = None  # the handler that it calls

    def begin(self) -> None:
        """Stand before torch's handler, which torch has set when it started workers."""
        now = signal.getsignal(signal.SIGCHLD)
        if callable(now) and now != self._note and current_thread() is main_thread():
            self._torch = now
            signal.signal(signal.SIGCHLD, self._note)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, batches are waited for. Raises RuntimeError for a worker that died before or dies now."""
        self.waits = True
        try:
            self._raise_kept()
            yield
        finally:
            self.waits, self.error = False, None

    def _raise_kept(self) -> None:
        if self.error:
            raise self.error

    def _note(self, number: int, frame: FrameType | None) -> None:
        try:
            assert callable(self._torch)
            self._torch(number, frame)
        except RuntimeError as error:
            self.error = error
        if self.waits:
            self._raise_kept()


_watch = _Watch()


def watch_workers() -> None:
    """From now on keep what is said of workers that have died until batches are waited for. Called once there are
    workers."""
    _watch.begin()


def told(batches: Iterator[T]) -> Iterator[T]:
    """The same, and InputError where one is waited for and a worker was ended from outside."""
    while True:
        try:
            with _watch.waiting():
                batch = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            raise InputError(
                f"{one_line(error)} Mostly memory has run out: each of data.num_workers processes needs its own"
            ) from None
        yield batch
