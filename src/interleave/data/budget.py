"""What a row and a batch may hold, and what an example takes of it: tokens and views, counted side by side."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ..core.types import Example


@dataclass(frozen=True)
class Budget:
    """What one batch may hold. The fields are options of the config node ``data``.

    sequence_length: tokens of a row.
    batch_size: rows of a batch.
    max_views: views of a whole batch.
    lookahead: how many batches' worth of examples wait for the packer to choose from; more wait, fuller rows.
    """

    sequence_length: int
    batch_size: Annotated[int, Field(ge=1)] = 1
    max_views: int = 64
    lookahead: Annotated[float, Field(ge=1)] = 4.0


@dataclass(frozen=True, slots=True)
class Load:
    """A number of tokens and a number of views: the size of an example, or the space that is left in a row."""

    tokens: int  # text and visual tokens alike
    views: int  # squares of pixels for the vision encoder

    def __add__(self, other: "Load") -> "Load":
        return Load(self.tokens + other.tokens, self.views + other.views)

    def __sub__(self, other: "Load") -> "Load":
        return Load(self.tokens - other.tokens, self.views - other.views)

    def fits_into(self, space: "Load") -> bool:
        """Whether neither of the two numbers is above that of ``space``."""
        return self.tokens <= space.tokens and self.views <= space.views

    def as_tuple(self) -> tuple[int, int]:
        """(tokens, views) as plain numbers, the form that cursors and checkpoints have."""
        return self.tokens, self.views


NO_LOAD = Load(0, 0)


def load_of(example: Example) -> Load:
    """The tokens and the views of one example."""
    return Load(len(example.input_ids), example.views)
