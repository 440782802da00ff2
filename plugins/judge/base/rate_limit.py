"""When a request may start: the only place that keeps to a rate limit."""

from threading import Event, Lock
from time import monotonic


class RateLimit:
    """Spreads the requests of all threads evenly over time, so that no minute and no second has more than its share.

    requests: the most a minute; None for no limit.
    tokens: the most a minute, of all requests together; None for no limit.
    stopped: once it is set, nobody waits any longer.
    """

    def __init__(self, requests: float | None, tokens: float | None, stopped: Event) -> None:
        self.requests = requests
        self.tokens = tokens
        self.stopped = stopped
        self._lock = Lock()
        self._next = 0.0  # when the next request may start, on the clock of ``monotonic``
        self._paused = 0.0  # nothing starts before this time

    def wait(self, tokens: int) -> None:
        """Wait until a request of so many tokens may start."""
        # seconds until the request after this one
        by_requests = 60 / self.requests if self.requests else 0.0
        by_tokens = 60 * tokens / self.tokens if self.tokens else 0.0
        apart = max(by_requests, by_tokens)
        with self._lock:
            start = max(monotonic(), self._next)
            self._next = start + apart
        while not self.stopped.is_set():
            rest = max(start, self._paused) - monotonic()  # read anew: ``pause`` may have been called meanwhile
            if rest <= 0:
                return
            self.stopped.wait(rest)

    def pause(self, seconds: float) -> None:
        """Let no request of any thread start for so long, because the server asked for it."""
        with self._lock:
            self._paused = max(self._paused, monotonic() + seconds)
