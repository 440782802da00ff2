"""Numbers of files -> cameras: the only place that says which matrices are poses and which are intrinsics."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interleave import BadSample, load_image

from .view import Camera, Matrix

TOLERANCE = 1e-2
"""How far a rotation may be from one: files keep few digits."""


def read_matrix(path: Path, shapes: Sequence[tuple[int, int]] = ((4, 4),)) -> Matrix:
    """Numbers of a text file as a matrix of one of the shapes. Raises BadSample."""
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


def as_matrix(value: Any, rows: int, cols: int, name: str) -> Matrix:
    """Nested lists of a JSON file as a matrix. Raises BadSample."""
    try:
        matrix = np.array(value, np.float64)
    except (ValueError, TypeError):
        raise BadSample("broken matrix", f"{name} is no matrix of numbers; it must be {rows} x {cols}") from None
    if matrix.shape != (rows, cols):
        shape = " x ".join(map(str, matrix.shape)) or "one number"
        raise BadSample("broken matrix", f"{name} is {shape}; it must be {rows} x {cols}")
    return matrix


def checked_pose(matrix: Matrix, name: str) -> Matrix:
    """A (4, 4) camera-to-world matrix, unchanged. Raises BadSample where it is none."""
    if not np.isfinite(matrix).all():
        raise BadSample("broken pose", f"{name} has {int((~np.isfinite(matrix)).sum())} numbers that are not finite")
    rotation = matrix[:3, :3]
    determinant = float(np.linalg.det(rotation))
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if determinant <= 0 or error > TOLERANCE:
        raise BadSample(
            "singular rotation",
            f"{name} is no rotation: its determinant is {determinant:.3g}, its rows are {error:.2g} from orthonormal",
        )
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > TOLERANCE:
        raise BadSample("broken pose", f"{name} ends with the row {matrix[3].tolist()}; it must be 0, 0, 0, 1")
    return matrix


def make_camera(pose: Matrix, intrinsics: Matrix, size: tuple[int, int], name: str, from_centre: bool) -> Camera:
    """A camera of checked numbers. size: width and height that the intrinsics are of.

    from_centre: the data counts pixels from the centre of the first one, as OpenCV does. Raises BadSample.
    """
    checked_pose(pose, f"the pose of {name}")
    focal = (float(intrinsics[0, 0]), float(intrinsics[1, 1]))
    if not (np.isfinite(intrinsics).all() and min(focal) > 0 and min(size) > 0):
        raise BadSample(
            "broken intrinsics",
            f"the intrinsics of {name} have focal lengths {focal[0]:g} and {focal[1]:g} for a picture of {size[0]} x "
            f"{size[1]}; all must be above 0",
        )
    return Camera(pose, shifted(intrinsics, 0.5) if from_centre else intrinsics, *size)


def shifted(intrinsics: Matrix, by: float) -> Matrix:
    """Intrinsics with the origin of pixels moved by so many of them to the upper left."""
    moved = intrinsics[:3, :3].copy()
    moved[:2, 2] += by
    return moved


def pinhole(focal_x: float, focal_y: float, centre_x: float, centre_y: float) -> Matrix:
    """(3, 3)"""
    return np.array([[focal_x, 0, centre_x], [0, focal_y, centre_y], [0, 0, 1.0]])


def focal_of(angle: float, side: float) -> float:
    """The focal length in pixels at which a side of so many pixels spans an angle in radians; 0 for none."""
    return side / 2 / math.tan(angle / 2) if 0 < angle < math.pi else 0.0


def size_of(picture: Any) -> tuple[int, int]:
    """Width and height; of a file without decoding it. Raises BadSample."""
    if not isinstance(picture, (str, Path)):
        return load_image(picture).size
    try:
        with Image.open(picture) as image:
            return image.size
    except FileNotFoundError:
        raise BadSample("missing file", f"{picture} does not exist") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BadSample("not an image", f"{picture} is not an image that Pillow can read: {error}") from None
