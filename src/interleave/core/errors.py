"""The two kinds of error that a user sees, and the words for a name that is unknown."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What a user can mend: one line that names the thing, the numbers and the way out."""


class BadSample(InputError):
    """One sample that cannot be used. Training leaves it out, names it and counts it by ``reason``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message

    def __reduce__(self) -> tuple[type["BadSample"], tuple[str, str]]:
        return type(self), (self.reason, self.message)


def hint(name: str, known: Iterable[str]) -> str:
    """The second half of an error about a name: near matches, then all that is known."""
    close = difflib.get_close_matches(name, list(known), n=3)
    guess = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
    return f"{guess} Known: {', '.join(sorted(known)) or 'none (are the plugins loaded?)'}"
