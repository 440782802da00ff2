"""Places in text: the only place that knows how points and boxes are written, for questions, answers and scores.

A point is ``<x, y, z>``, a box along the axes its middle and its size, ``<x, y, z, dx, dy, dz>``, in metres.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from interleave import InputError

from .view import Camera, Matrix

Frame = Literal["world", "first"]
"""The axes of coordinates: the data's, or those of the first view's camera (x right, y down, z ahead)."""
_FOUND = re.compile(r"<\s*([^<>]*\d[^<>]*?)\s*>")


def write_point(point: Sequence[float] | Matrix, decimals: int = 2) -> str:
    """(3,) -> ``<1.20, -0.35, 2.00>``."""
    return _write(np.asarray(point, np.float64), 3, decimals)


def write_box(centre: Sequence[float] | Matrix, size: Sequence[float] | Matrix, decimals: int = 2) -> str:
    """(3,) and (3,) -> ``<1.20, -0.35, 2.00, 0.50, 0.50, 1.00>``."""
    return _write(np.concatenate([np.asarray(centre, np.float64), np.asarray(size, np.float64)]), 6, decimals)


def read_points(text: str) -> Matrix:
    """(n, 3): all points of a text, in their order. Raises InputError where something in brackets is no point."""
    return _read(text, 3, "a point")


def read_boxes(text: str) -> tuple[Matrix, Matrix]:
    """(n, 3) middles and (n, 3) sizes. Raises InputError where something in brackets is no box."""
    boxes = _read(text, 6, "a box")
    if (boxes[:, 3:] < 0).any():
        raise InputError(f"a box has the size {boxes[:, 3:].min():g} along an axis; it must be 0 or more")
    return boxes[:, :3], boxes[:, 3:]


def to_frame(points: Matrix, first: Camera, frame: Frame) -> Matrix:
    """(..., 3) points of the world in the axes that are written. Boxes along the world's axes stay in the world."""
    if frame == "world":
        return points
    moved: Matrix = (points - first.centre) @ first.pose[:3, :3]
    return moved


def from_frame(points: Matrix, first: Camera, frame: Frame) -> Matrix:
    """(..., 3) points as they are written, back in the world."""
    if frame == "world":
        return points
    moved: Matrix = points @ first.pose[:3, :3].T + first.centre
    return moved


def _write(numbers: Matrix, count: int, decimals: int) -> str:
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise InputError(f"{numbers.tolist()} cannot be written; {count} finite numbers are needed")
    return f"<{', '.join(f'{number + 0.0:.{decimals}f}' for number in numbers.round(decimals))}>"


def _read(text: str, count: int, what: str) -> Matrix:
    found = []
    for inner in _FOUND.findall(text):
        try:
            numbers = [float(number) for number in inner.split(",")]
        except ValueError:
            raise InputError(f"<{inner}> is not {what}: {count} numbers with commas between them are needed") from None
        if len(numbers) != count or not np.isfinite(numbers).all():
            raise InputError(f"<{inner}> has {len(numbers)} numbers; {what} has {count}, all finite")
        found.append(numbers)
    return np.array(found, np.float64).reshape(-1, count)
