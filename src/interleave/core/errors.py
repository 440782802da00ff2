"""The two kinds of error that a user sees, and words for them: what another error says, and which names are known."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """A mistake that the user can mend. The message is one line that names the thing, the numbers and the way out.

    The command line prints that line without a traceback.
    """


class BadSample(InputError):
    """One sample cannot be used. Training leaves it out and the rest goes on.

    reason: a few words that are the same for all samples with this fault; the ledger counts by them.
    message: one line about this sample.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[type["BadSample"], tuple[str, str]]:
        """Loader workers send it to the main process by pickle, which would otherwise call it with the message
        alone."""
        return type(self), (self.reason, self.message)


@contextmanager
def sample_border(name: str = "") -> Iterator[None]:
    """Makes a BadSample of whatever is raised inside: what one sample breaks must not end the rest.

    Files, plugins and other libraries raise more than anybody lists. InputError passes, as does what is no Exception,
    such as Ctrl-C. name: of the sample; put in front of the message.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        kind = type(error).__name__
        said = f"{kind}: {one_line(error)}" if str(error).strip() else kind
        raise BadSample(kind, f"{name}: {said}" if name else said) from error


def one_line(error: BaseException) -> str:
    """What an error of another library says, on one line of at most 300 characters; its type where it says nothing.

    Many of them write several lines, or list all that they know.
    """
    return " ".join(str(error).split())[:300] or type(error).__name__


def hint(name: str, known: Iterable[str]) -> str:
    """The second half of an error about an unknown ``name``: near matches if there are any, then all ``known`` names.

    ``hint("siglp", ["clip", "siglip"])`` is ``"; did you mean 'siglip'? Known: clip, siglip"``.
    """
    known = list(known)  # it may be an iterator, and is read twice
    close = difflib.get_close_matches(name, known, n=3)
    guess = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
    return f"{guess} Known: {', '.join(sorted(known)) or 'none (are the plugins loaded?)'}"
