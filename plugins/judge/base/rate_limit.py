"""When a request may start: the only place that keeps to a rate."""

from threading import Event, Lock
from time import monotonic


class Pace:
    """Start times of requests of all threads, evenly apart, so that no minute and no second has more than its share.

    requests, tokens: a minute; None for as many as come. stopped: once it is set, nobody waits any longer.
    """

    def __init__(self, requests: float | None, tokens: float | None, stopped: Event) -> None:
        self.requests, self.tokens, self.stopped = requests, tokens, stopped
        self._lock = Lock()
        self._next = self._held = 0.0

    def wait(self, tokens: int) -> None:
        """Until a request of so many tokens may start."""
        apart = max(60 / self.requests if self.requests else 0.0, 60 * tokens / self.tokens if self.tokens else 0.0)
        with self._lock:
            start = max(monotonic(), self._next)
            self._next = start + apart
        while (rest := max(start, self._held) - monotonic()) > 0 and not self.stopped.is_set():
            self.stopped.wait(rest)

    def hold(self, seconds: float) -> None:
        """Nothing starts for so long: the other side has said so."""
        with self._lock:
            self._held = max(self._held, monotonic() + seconds)
