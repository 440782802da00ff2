"""Pictures of more than 8 bits a pixel: their grey levels as 0 to 255, where Pillow would cut all above off."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.errors import BadSample

DEEP_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
"""Pillow's modes of one channel with 16 or 32 bits."""


def eight_bits(image: Image.Image) -> Image.Image:
    """A picture of a mode in ``DEEP_MODES`` -> mode ``L``.

    16 bits keep their upper eight. Fractions from 0 to 1 are multiplied by 255. Modes of 32 bits do not say how many of
    them a file means: values up to 255 stay as they are, whole numbers up to 65,535 keep their upper eight bits, and
    any other range (heights, negative values) is spread from its least to its greatest value.

    Raises BadSample where no value is finite.
    """
    values = np.asarray(image)  # (H, W)
    if image.mode.startswith("I;16"):
        return Image.fromarray((values >> 8).astype(np.uint8))
    finite = values[np.isfinite(values)] if image.mode == "F" else values
    if finite.size == 0:
        raise BadSample("broken image", "a picture of fractions holds no finite value")
    least, greatest = float(finite.min()), float(finite.max())
    return Image.fromarray(_spread(values, image.mode, least, greatest))


def _spread(values: NDArray[np.generic], mode: str, least: float, greatest: float) -> NDArray[np.uint8]:
    """(H, W) values between ``least`` and ``greatest`` -> 0 to 255. What is not finite becomes the least."""
    known = np.nan_to_num(values.astype(np.float64), nan=least, posinf=greatest, neginf=least)
    if mode == "F" and least >= 0 and greatest <= 1:
        known = known * 255
    elif least >= 0 and greatest <= 255:
        pass
    elif mode == "I" and least >= 0 and greatest <= 65_535:
        known = np.floor(known / 256)
    else:
        known = (known - least) * (255 / max(greatest - least, 1e-30))
    return np.round(known).astype(np.uint8)
