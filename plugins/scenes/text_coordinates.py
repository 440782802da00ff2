"""Coordinates in text: the only place that knows how points and boxes are written in questions, answers and scores.

A point is ``<x, y, z>``. A box along the axes is its centre and its size, ``<x, y, z, dx, dy, dz>``. Units are metres.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from interleave import InputError

from .view import Camera, Matrix

Frame = Literal["world", "first"]
"""The axes of coordinates in text: the world's, or those of the first view's camera (x right, y down, z ahead)."""
_BRACKETED = re.compile(r"<\s*([^<>]*\d[^<>]*?)\s*>")
"""What stands in angle brackets and has a digit in it, so that ``<image>`` is no coordinate."""


def write_point(point: Sequence[float] | Matrix, decimals: int = 2) -> str:
    """A (3,) point as text: ``<1.20, -0.35, 2.00>``. Raises InputError unless it is three finite numbers."""
    return _write_numbers(np.asarray(point, np.float64), 3, decimals)


def write_box(centre: Sequence[float] | Matrix, size: Sequence[float] | Matrix, decimals: int = 2) -> str:
    """A box with a (3,) centre and (3,) edge lengths as text: ``<1.20, -0.35, 2.00, 0.50, 0.50, 1.00>``.

    Raises InputError unless these are six finite numbers.
    """
    numbers = np.concatenate([np.asarray(centre, np.float64), np.asarray(size, np.float64)])  # (6,)
    return _write_numbers(numbers, 6, decimals)


def read_points(text: str) -> Matrix:
    """(n, 3) all points of a text, in their order. Raises InputError where something in brackets is no point."""
    return _read_numbers(text, 3, "a point")


def read_boxes(text: str) -> tuple[Matrix, Matrix]:
    """(n, 3) centres and (n, 3) edge lengths of all boxes of a text, in their order.

    Raises InputError where something in brackets is no box.
    """
    boxes = _read_numbers(text, 6, "a box")  # (n, 6)
    if (boxes[:, 3:] < 0).any():
        raise InputError(f"a box has the size {boxes[:, 3:].min():g} along an axis; it must be 0 or more")
    return boxes[:, :3], boxes[:, 3:]


def to_frame(points: Matrix, first: Camera, frame: Frame) -> Matrix:
    """(..., 3) points of the world in the axes of ``frame``, in which they are written.

    first: the camera of the first view. Boxes along the world's axes cannot be written in other axes; they stay in the
    world.
    """
    if frame == "world":
        return points
    moved: Matrix = (points - first.centre) @ first.pose[:3, :3]  # R^T (p - c), written for rows
    return moved


def from_frame(points: Matrix, first: Camera, frame: Frame) -> Matrix:
    """(..., 3) points in the axes of ``frame``, back in the world: the inverse of ``to_frame``."""
    if frame == "world":
        return points
    moved: Matrix = points @ first.pose[:3, :3].T + first.centre  # R p + c, written for rows
    return moved


def _write_numbers(numbers: Matrix, count: int, decimals: int) -> str:
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise InputError(f"{numbers.tolist()} cannot be written; {count} finite numbers are needed")
    rounded = numbers.round(decimals) + 0.0  # -0.0 + 0.0 is 0.0: a zero is written without a sign
    return f"<{', '.join(f'{number:.{decimals}f}' for number in rounded)}>"


def _read_numbers(text: str, count: int, what: str) -> Matrix:
    """(n, count) the numbers of everything in brackets. ``what`` names one of them in messages. Raises InputError."""
    found = []
    for inner in _BRACKETED.findall(text):
        try:
            numbers = [float(number) for number in inner.split(",")]
        except ValueError:
            raise InputError(f"<{inner}> is not {what}: {count} numbers with commas between them are needed") from None
        if len(numbers) != count or not np.isfinite(numbers).all():
            raise InputError(f"<{inner}> has {len(numbers)} numbers; {what} has {count}, all finite")
        found.append(numbers)
    return np.array(found, np.float64).reshape(-1, count)  # (0, count) where the text has none
