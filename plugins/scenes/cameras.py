"""From the numbers of a file to a ``Camera``: the only place that decides which matrices are poses and intrinsics.

The conventions of axes and pixels are those of view.py.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from interleave import BadSample

from .view import Camera, Matrix

TOLERANCE = 1e-2
"""How far an entry may be off in a matrix that must be a rotation: files keep few digits."""


def read_matrix(path: Path, shapes: Sequence[tuple[int, int]] = ((4, 4),)) -> Matrix:
    """The numbers of a text file, separated by spaces or commas, as a matrix of one of the shapes.

    Numbers that are not finite are kept. Raises BadSample where the file is missing or its numbers fit no shape.
    """
    if not path.is_file():
        raise BadSample("missing file", f"{path} does not exist")
    try:
        numbers = [float(word) for word in path.read_text().replace(",", " ").split()]
    except (ValueError, UnicodeDecodeError) as error:
        raise BadSample("broken matrix", f"{path} holds no matrix: {error}") from None
    for rows, cols in shapes:
        if len(numbers) == rows * cols:
            return np.array(numbers).reshape(rows, cols)
    wanted = " or ".join(f"{rows} x {cols}" for rows, cols in shapes)
    raise BadSample("broken matrix", f"{path} holds {len(numbers)} numbers; a {wanted} matrix is needed")


def as_matrix(value: object, rows: int, cols: int, name: str) -> Matrix:
    """Nested lists of a JSON file as a (rows, cols) matrix. Raises BadSample, whose text begins with ``name``."""
    try:
        matrix = np.array(value, np.float64)
    except (ValueError, TypeError):
        raise BadSample("broken matrix", f"{name} is no matrix of numbers; it must be {rows} x {cols}") from None
    if matrix.shape != (rows, cols):
        shape = " x ".join(map(str, matrix.shape)) or "one number"
        raise BadSample("broken matrix", f"{name} is {shape}; it must be {rows} x {cols}")
    return matrix


def checked_pose(matrix: Matrix, name: str) -> Matrix:
    """The (4, 4) camera-to-world matrix itself, unchanged.

    Raises BadSample where it is none: numbers that are not finite, a rotation that is singular, mirrored or scaled, or
    a last row other than 0, 0, 0, 1. ``name`` begins the message.
    """
    if not np.isfinite(matrix).all():
        raise BadSample("broken pose", f"{name} has {int((~np.isfinite(matrix)).sum())} numbers that are not finite")
    rotation = matrix[:3, :3]
    determinant = float(np.linalg.det(rotation))
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())  # R R^T = I for a rotation
    if determinant <= 0 or error > TOLERANCE:  # a mirror is orthonormal, too, and has the determinant -1
        raise BadSample(
            "singular rotation",
            f"{name} is no rotation: its determinant is {determinant:.3g}, its rows are {error:.2g} from orthonormal",
        )
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > TOLERANCE:
        raise BadSample("broken pose", f"{name} ends with the row {matrix[3].tolist()}; it must be 0, 0, 0, 1")
    return matrix


def make_camera(pose: Matrix, intrinsics: Matrix, size: tuple[int, int], name: str, from_centre: bool) -> Camera:
    """A camera, its numbers checked. Raises BadSample.

    pose: (4, 4) camera to world, in OpenCV's axes.
    intrinsics: (3, 3) in pixels of a picture of ``size``.
    size: width and height in pixels.
    name: of the view, for messages.
    from_centre: whether the data measures pixels from the centre of the first one, as OpenCV does.
    """
    checked_pose(pose, f"the pose of {name}")
    focal = (float(intrinsics[0, 0]), float(intrinsics[1, 1]))
    if not (np.isfinite(intrinsics).all() and min(focal) > 0 and min(size) > 0):
        raise BadSample(
            "broken intrinsics",
            f"the intrinsics of {name} have focal lengths {focal[0]:g} and {focal[1]:g} for a picture of {size[0]} x "
            f"{size[1]}; all must be above 0",
        )
    return Camera(pose, shift_origin(intrinsics, 0.5) if from_centre else intrinsics, *size)


def shift_origin(intrinsics: Matrix, by: float) -> Matrix:
    """(3, 3) intrinsics after the origin of pixel coordinates moved by ``by`` pixels up and to the left.

    0.5 goes from OpenCV's convention (origin at the first pixel's centre) to ours (at its corner), -0.5 back.
    """
    moved = intrinsics[:3, :3].copy()
    moved[:2, 2] += by  # the principal point keeps its spot, so its coordinates grow
    return moved


def pinhole(focal_x: float, focal_y: float, centre_x: float, centre_y: float) -> Matrix:
    """(3, 3) intrinsics without skew. All four are in pixels; the centre is the principal point."""
    return np.array([[focal_x, 0, centre_x], [0, focal_y, centre_y], [0, 0, 1.0]])


def focal_length(angle: float, side: float) -> float:
    """The focal length in pixels at which ``side`` pixels span ``angle`` radians; 0 where no lens has that angle."""
    return side / 2 / math.tan(angle / 2) if 0 < angle < math.pi else 0.0  # tan(angle / 2) = (side / 2) / focal
