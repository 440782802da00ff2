"""When the same request may succeed later: status codes, and the wait that a server asks for."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BUSY = frozenset({408, 409, 425, 429})
"""Status codes, besides all from 500 on, after which the same request may be answered later."""


class Busy(Exception):
    """The same request may be answered later. after: in how many seconds, where the server says so."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait; None where it does not say, or not in a form of RFC 9110, 10.2.3.

    The header ``Retry-After`` holds a number of seconds or a date.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):  # seconds; some servers send fractions
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # HTTP dates are in UTC
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
