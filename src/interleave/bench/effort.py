"""How much a benchmark does: in full, quickly, or as little as a test needs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """shape: of the model, a name of ``bench_models.SHAPES``.
    rounds: times that each side is measured; the median counts.
    samples: of comparisons over samples.
    sizes: how many sizes growth is fitted over, each twice the one before.
    tokens: of comparisons over tokens, and of the largest size.
    """

    shape: str
    rounds: int
    samples: int
    sizes: int
    tokens: int


FULL = Effort("small", 3, 24, 5, 4096)
QUICK = Effort("small", 1, 8, 3, 1024)
