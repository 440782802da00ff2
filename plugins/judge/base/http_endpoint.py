"""One address of an HTTP interface: repeats requests that may succeed later, and reports in one line those that cannot.

The only place that holds a key. It is read from the environment, sent, and cut out of every error message.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from threading import Event, Lock
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from interleave import BadSample, InputError, one_line

from .rate_limit import RateLimit
from .retry_later import BUSY, Busy, retry_after

if TYPE_CHECKING:
    import httpx2
    from tenacity import RetryCallState

Body = Mapping[str, object]
"""A JSON object that is sent or received."""
REFUSALS = ("content_filter", "content_policy", "context_length", "maximum context length")
"""Words in an error of status 400 that is about this one conversation; any other 400 is about every request."""


class Tries(NamedTuple):
    """How long and how often a request is tried.

    timeout: seconds for a whole answer.
    tries: how often one request is sent at most.
    backoff: seconds before the second try; doubled before each further one, plus a random part.
    patience: the longest wait between two tries, in seconds.
    """

    timeout: float
    tries: int
    backoff: float
    patience: float


class Response(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Endpoint:
    """POST of JSON to ``base_url`` and a path, from several threads at once.

    base_url: without a trailing path such as ``/chat/completions``.
    key_env: name of the environment variable that holds the key; None sends no key.
    tries: how long and how often a request is tried.
    limit: the rate to keep to; its ``stopped`` event ends all waiting.

    Raises InputError for a base_url or key_env that may hold a secret itself.
    """

    def __init__(self, base_url: str, key_env: str | None, tries: Tries, limit: RateLimit) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise InputError("judge.base_url must be http(s)://HOST/PATH, without a key or anything else secret in it")
        if key_env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key_env):
            raise InputError("judge.key_env must name an environment variable; a key itself belongs into no config")
        self.base_url = base_url.rstrip("/")
        self.key_env = key_env
        self.timeout, self.tries, self.backoff, self.patience = tries  # as in ``Tries``
        self.limit = limit
        self.stopped: Event = limit.stopped
        self.counts: Counter[str] = Counter()  # of requests, requests repeated, answers, and tokens
        self._lock = Lock()
        self._client: httpx2.Client | None = None

    def post(self, path: str, body: Body, tokens: int) -> Body:
        """Send a request, again where that may help, and return the answer.

        tokens: how many the request counts against the rate limit.

        Raises BadSample where the server refuses this conversation, InputError where it can answer none.
        """
        tenacity = _import_tenacity()
        backoff = tenacity.wait_exponential_jitter(self.backoff, self.patience, jitter=self.backoff)

        def seconds_to_wait(state: "RetryCallState") -> float:
            busy = state.outcome.exception() if state.outcome else None
            after = busy.after if isinstance(busy, Busy) else None
            return self._pause(after, float(backoff(state)))

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Busy),
            wait=seconds_to_wait,
            stop=tenacity.stop_any(tenacity.stop_after_attempt(self.tries), tenacity.stop_when_event_set(self.stopped)),
            sleep=tenacity.sleep_using_event(self.stopped),
            reraise=True,
        )
        try:
            answer: Body = retrying(self._send, path, body, tokens)
        except Busy as busy:
            raise InputError(
                f"judge: {self.base_url} gave no answer in {self.tries} tries, the last: {busy}. What was answered is "
                "kept; go on later with the same command, or raise judge.tries, judge.timeout or judge.patience"
            ) from None
        return answer

    def _pause(self, after: float | None, otherwise: float) -> float:
        """Seconds until the next try. after: what the server asks for, which then holds for all threads.

        Raises InputError where the server asks for more than the patience.
        """
        self.add("requests repeated")
        if after is None:
            return otherwise
        if after > self.patience:
            raise InputError(
                f"judge: {self.base_url} asks to wait {after:.0f} s, and judge.patience is {self.patience:.0f}; "
                "what was answered is kept, go on later with the same command"
            )
        self.limit.pause(after)  # other threads would be refused as well
        return after

    def _send(self, path: str, body: Body, tokens: int) -> Body:
        """One try. Raises Busy where another may help, BadSample or InputError where not."""
        # Connect first: it takes a while, and requests whose time came meanwhile would all start at once.
        client = self._connected()
        self.limit.wait(tokens)
        if self.stopped.is_set():
            raise InputError("judge: given up, because the run ends")
        self.add("requests")
        status, headers, content = self._exchange(client, path, body)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if status == 200 and isinstance(answer, dict):
            self.add("answers")
            return answer
        reason = self._reason(answer, content)
        if "insufficient_quota" in reason:  # comes with status 429, and waiting does not help
            raise InputError(f"judge: the account at {self.base_url} has nothing left ({status}): {reason}")
        if status in BUSY or status >= 500:
            raise Busy(f"status {status}, {reason}", retry_after(headers))
        raise self._refusal(status, reason, str(body.get("model")))

    def _exchange(self, client: "httpx2.Client", path: str, body: Body) -> Response:
        """Send and read, within the time limit however slowly the answer comes. Raises Busy, or InputError."""
        httpx = _import_httpx()
        text = json.dumps(dict(body))  # escaped to ASCII, because a reply may hold half a surrogate pair
        deadline = monotonic() + self.timeout  # of the whole answer; the client's own limit is for each part of it
        content = bytearray()
        try:
            with client.stream("POST", f"{self.base_url}/{path}", content=text) as response:
                for piece in response.iter_bytes():
                    content += piece
                    if monotonic() > deadline:
                        raise httpx.ReadTimeout("")  # caught below, like the client's own
                return Response(response.status_code, response.headers, bytes(content))
        except httpx.TimeoutException:
            raise Busy(f"no answer within judge.timeout={self.timeout:g} s") from None
        except httpx.TransportError as error:
            # without a single answer so far the address is probably wrong; later the network is
            if isinstance(error, httpx.ConnectError) and not self.counts["answers"]:
                raise InputError(f"judge.base_url {self.base_url} cannot be reached: {one_line(error)}") from None
            raise Busy(f"{type(error).__name__}: {error}") from None

    def _connected(self) -> "httpx2.Client":
        """The client that all threads share, made by the first of them."""
        with self._lock:
            if self._client is None:
                headers = {"Content-Type": "application/json"}
                if self.key_env:
                    headers["Authorization"] = f"Bearer {self._key()}"
                client: httpx2.Client = _import_httpx().Client(timeout=self.timeout, headers=headers)
                self._client = client
            return self._client

    def _key(self) -> str:
        """The key from the environment. Raises InputError where it is missing or no key."""
        key = os.environ.get(self.key_env or "", "").strip()
        if not key:
            raise InputError(
                f"judge: the environment has no {self.key_env}; set it to the key of {self.base_url}, or "
                "judge.key_env=null where the server asks for none"
            )
        if not key.isascii() or not key.isprintable():
            raise InputError(f"judge: {self.key_env} holds characters that no key has; look for a line break in it")
        return key

    def _reason(self, answer: object, content: bytes) -> str:
        """What the server says is wrong, on one line of at most 300 characters and without the key.

        answer: the content as JSON, where it is JSON; often ``{"error": {"code": ..., "message": ...}}``.
        """
        error = answer.get("error", answer) if isinstance(answer, dict) else None
        if isinstance(error, dict):
            text = " ".join(str(error[name]) for name in ("code", "message") if error.get(name))
        else:
            text = str(error or content.decode(errors="replace"))
        if self.key_env:
            text = text.replace(self._key(), "***")  # some servers repeat the key that they refuse
        return " ".join(text.split())[:300] or "nothing said"

    def _refusal(self, status: int, reason: str, model: str) -> InputError:
        """The error for a status after which no further try helps: BadSample where it is about this conversation."""
        about_conversation = any(words in reason.lower() for words in REFUSALS)
        if status == 413 or (status == 400 and about_conversation):  # 413: the request is too large
            return BadSample("refused", reason)
        if status in (401, 403):
            key = f"the key in {self.key_env}" if self.key_env else "a request without a key; name one by judge.key_env"
            return InputError(f"judge: {self.base_url} does not accept {key} ({status}): {reason}")
        if status == 404:
            return InputError(f"judge: {self.base_url} does not know judge.model={model} or this path (404): {reason}")
        if status == 200:
            return InputError(
                f"judge: {self.base_url} does not answer in JSON; is it the right path? It said: {reason}"
            )
        return InputError(f"judge: {self.base_url} does not take requests for {model} ({status}): {reason}")

    def add(self, name: str, count: int = 1) -> None:
        """Raise one of the ``counts``; any thread may."""
        with self._lock:
            self.counts[name] += count


def _import_httpx() -> ModuleType:
    try:
        import httpx2
    except ImportError:
        raise InputError("judge=openai needs httpx2: pip install 'interleave[judge]'") from None
    return httpx2


def _import_tenacity() -> ModuleType:
    try:
        import tenacity
    except ImportError:
        raise InputError("judge=openai needs tenacity: pip install 'interleave[judge]'") from None
    return tenacity
