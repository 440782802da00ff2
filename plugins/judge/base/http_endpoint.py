"""One address of an HTTP interface: tries again what may work later, and says in one line what will not.

The only place that holds a key. It is read from the environment, sent, and cut out of all that is said about a request.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event, Lock
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from interleave import BadSample, InputError

from .rate_limit import Pace

BUSY = frozenset({408, 409, 425, 429})
"""Besides all from 500 on: the same request may be answered later."""
ABOUT_ONE = ("content_filter", "content_policy", "context_length", "maximum context length")
"""What an error of status 400 says where it is about this conversation and not about every one."""


class Busy(Exception):
    """The same request may be answered later. after: in so many seconds, where the other side says so."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Tries(NamedTuple):
    """timeout: seconds for a whole answer. tries: of one request. backoff: seconds before the second; it doubles from
    there, with a random part. patience: the longest wait, in seconds."""

    timeout: float
    tries: int
    backoff: float
    patience: float


class Endpoint:
    """POST of JSON to ``base_url`` and a path. key_env: the environment variable with the key; None sends none."""

    def __init__(self, base_url: str, key_env: str | None, tries: Tries, pace: Pace) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise InputError("judge.base_url must be http(s)://HOST/PATH, without a key or anything else secret in it")
        if key_env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key_env):
            raise InputError("judge.key_env must name an environment variable; a key itself belongs into no config")
        self.base_url, self.key_env = base_url.rstrip("/"), key_env
        self.timeout, self.tries, self.backoff, self.patience = tries
        self.pace = pace
        self.stopped: Event = pace.stopped
        self.counts: Counter[str] = Counter()
        self._lock = Lock()
        self._client: Any = None

    def post(self, path: str, body: Mapping[str, Any], tokens: int) -> Any:
        """-> what the other side answers. tokens: what counts against the rate.

        Raises BadSample where it refuses this conversation, InputError where it can answer none.
        """
        tenacity = _tenacity()
        backoff = tenacity.wait_exponential_jitter(self.backoff, self.patience, jitter=self.backoff)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Busy),
            wait=lambda state: self._pause(state.outcome.exception().after, backoff(state)),
            stop=tenacity.stop_any(tenacity.stop_after_attempt(self.tries), tenacity.stop_when_event_set(self.stopped)),
            sleep=tenacity.sleep_using_event(self.stopped),
            reraise=True,
        )
        try:
            return retrying(self._once, path, body, tokens)
        except Busy as busy:
            raise InputError(
                f"judge: {self.base_url} gave no answer in {self.tries} tries, the last: {busy}. What was answered is "
                "kept; go on later with the same command, or raise judge.tries, judge.timeout or judge.patience"
            ) from None

    def _pause(self, after: float | None, otherwise: float) -> float:
        self.add("requests repeated")
        if after is None:
            return float(otherwise)
        if after > self.patience:
            raise InputError(
                f"judge: {self.base_url} asks to wait {after:.0f} s, and judge.patience is {self.patience:.0f}; "
                "what was answered is kept, go on later with the same command"
            )
        self.pace.hold(after)
        return after

    def _once(self, path: str, body: Mapping[str, Any], tokens: int) -> Any:
        client = self._open()  # before the wait: it takes a while, and what is made in it would start at once
        self.pace.wait(tokens)
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
        said = self._said(answer, content)
        if "insufficient_quota" in said:
            raise InputError(f"judge: the account at {self.base_url} has nothing left ({status}): {said}")
        if status in BUSY or status >= 500:
            raise Busy(f"status {status}, {said}", retry_after(headers))
        raise self._refusal(status, said, str(body.get("model")))

    def _exchange(self, client: Any, path: str, body: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and content, within the time limit however slowly they come."""
        httpx = _httpx()
        sent = json.dumps(dict(body))  # escaped, because a reply may hold half a surrogate pair
        limit, content = monotonic() + self.timeout, bytearray()
        try:
            with client.stream("POST", f"{self.base_url}/{path}", content=sent) as response:
                for piece in response.iter_bytes():
                    content += piece
                    if monotonic() > limit:
                        raise httpx.ReadTimeout("")
                return response.status_code, response.headers, bytes(content)
        except httpx.TimeoutException:
            raise Busy(f"no answer within judge.timeout={self.timeout:g} s") from None
        except httpx.TransportError as error:
            if isinstance(error, httpx.ConnectError) and not self.counts["answers"]:
                line = " ".join(str(error).split())
                raise InputError(f"judge.base_url {self.base_url} cannot be reached: {line}") from None
            raise Busy(f"{type(error).__name__}: {error}") from None

    def _open(self) -> Any:
        with self._lock:
            if self._client is None:
                headers = {"Content-Type": "application/json"}
                if self.key_env:
                    headers["Authorization"] = f"Bearer {self._key()}"
                self._client = _httpx().Client(timeout=self.timeout, headers=headers)
            return self._client

    def _key(self) -> str:
        key = os.environ.get(self.key_env or "", "").strip()
        if not key:
            raise InputError(
                f"judge: the environment has no {self.key_env}; set it to the key of {self.base_url}, or "
                "judge.key_env=null where the server asks for none"
            )
        if not key.isascii() or not key.isprintable():
            raise InputError(f"judge: {self.key_env} holds characters that no key has; look for a line break in it")
        return key

    def _said(self, answer: Any, content: bytes) -> str:
        """What is wrong, in the words of the other side, on one line and without the key."""
        error = answer.get("error", answer) if isinstance(answer, dict) else None
        if isinstance(error, dict):
            text = " ".join(str(error[name]) for name in ("code", "message") if error.get(name))
        else:
            text = str(error or content.decode(errors="replace"))
        if self.key_env:
            text = text.replace(self._key(), "***")
        return " ".join(text.split())[:300] or "nothing said"

    def _refusal(self, status: int, said: str, model: str) -> InputError:
        if status == 413 or (status == 400 and any(words in said.lower() for words in ABOUT_ONE)):
            return BadSample("refused", said)
        if status in (401, 403):
            key = f"the key in {self.key_env}" if self.key_env else "a request without a key; name one by judge.key_env"
            return InputError(f"judge: {self.base_url} does not accept {key} ({status}): {said}")
        if status == 404:
            return InputError(f"judge: {self.base_url} does not know judge.model={model} or this path (404): {said}")
        if status == 200:
            return InputError(f"judge: {self.base_url} does not answer in JSON; is it the right path? It said: {said}")
        return InputError(f"judge: {self.base_url} does not take requests for {model} ({status}): {said}")

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self.counts[name] += count


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the other side wants to have, which it says as a number or as a date."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _httpx() -> Any:
    try:
        import httpx2
    except ImportError:
        raise InputError("judge=openai needs httpx2: pip install 'interleave[judge]'") from None
    return httpx2


def _tenacity() -> Any:
    try:
        import tenacity
    except ImportError:
        raise InputError("judge=openai needs tenacity: pip install 'interleave[judge]'") from None
    return tenacity
