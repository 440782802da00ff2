"""A thread that makes batches ahead of the steps that use them."""

import atexit
from collections.abc import Generator, Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Semaphore, Thread, current_thread
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that an end waits for the item that is being made."""


class _Last(NamedTuple):
    """Comes after the last item. error: what ended the making; None where there are no more."""

    error: BaseException | None


class _Ahead(Generic[T]):
    """Makes items in a thread, at most ``count`` more than were taken."""

    def __init__(self, items: Generator[T], count: int) -> None:
        self.items = items
        self.made: SimpleQueue[T | _Last] = SimpleQueue()
        self.wanted = Semaphore(count)  # items that may be made
        self.stopped = False
        # a daemon, since the interpreter joins all others before it ends, and this one may wait for a file
        self.thread = Thread(target=self._make, name="prefetch", daemon=True)

    def take(self) -> T | _Last:
        """The next item, or the last word. Waits for it."""
        item = self.made.get()
        self.wanted.release()
        return item

    def stop(self) -> None:
        """Let the thread end after the item that it makes now, and wait for it for a while."""
        self.stopped = True
        self.wanted.release()
        if self.thread is not current_thread():  # a garbage collection may happen in any
            self.thread.join(PATIENCE)

    def _make(self) -> None:
        error: BaseException | None = None
        try:
            while self.wanted.acquire() and not self.stopped:
                self.made.put(next(self.items))
        except StopIteration:
            pass
        except BaseException as caught:  # noqa: BLE001, it is raised where the item is taken
            error = caught
        with suppress(BaseException):
            self.items.close()  # only here: a generator that runs cannot be closed from elsewhere
        self.made.put(_Last(error))


def prefetched(items: Generator[T], count: int) -> Iterator[T]:
    """The same items in the same order, made by a thread that is ``count`` ahead; 0 makes each where it is taken.

    What is raised while an item is made is raised where it would have been taken, after all before it. ``items`` are
    closed with this iterator, at an error, and before the interpreter ends.
    """
    if count == 0:
        yield from items
        return
    ahead = _Ahead(items, count)
    ahead.thread.start()
    atexit.register(ahead.stop)  # a thread inside of torch would abort an interpreter that ends
    try:
        while True:
            item = ahead.take()
            if isinstance(item, _Last):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        ahead.stop()
        atexit.unregister(ahead.stop)
