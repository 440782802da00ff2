"""What ranks tell each other before each step: whether any has a batch left, or an error."""

from collections.abc import Callable, Iterator
from typing import NoReturn

from ..core.collectives import Group, all_gather, all_reduce_max, global_rank
from ..core.errors import InputError, one_line
from ..core.types import Batch

END, BATCH, ERROR = range(3)
"""What a rank says of itself; the greatest of what they say is what happens on all."""


def agreed(batches: Iterator[Batch], blank: Callable[[], Batch], group: Group) -> Iterator[Batch]:
    """The batches of this rank, followed by ``blank`` ones until no rank has any. Each is a collective.

    Where reading fails on one rank all end: that one with its own error, and the others with an InputError that names
    the rank and says the same. Left on their own they would wait for it for ever.

    group: of ``cpu_group``.
    """
    while True:
        error: Exception | None = None
        batch: Batch | None = None
        try:
            batch = next(batches, None)
        except Exception as caught:  # noqa: BLE001, it is raised below, when the others know of it
            error = caught
        said = all_reduce_max(ERROR if error else BATCH if batch else END, group)
        if said == ERROR:
            _end(error, group)
        if said == END:
            return
        yield batch or blank()


def _end(error: Exception | None, group: Group) -> NoReturn:
    """Raise this rank's own error, or else the first of the others'."""
    lines = [line for line in all_gather(_line(error), group) if line]
    raise error or InputError(lines[0])


def _line(error: Exception | None) -> str:
    """What other ranks say of an error; empty without one."""
    if error is None:
        return ""
    if isinstance(error, InputError):
        return f"rank {global_rank()}: {error}"
    text = f"{type(error).__name__}: {one_line(error)}"
    return f"rank {global_rank()} cannot read its data, so that no rank can go on: {text}"
