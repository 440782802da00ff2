"""The geometry of patches: along which rays the light comes that fills a patch of a view. Numbers only, no weights.

A *square view* is what the vision encoder takes. Positions in it are (x, y) from its upper left corner, x to the right
and y down, in units of its side, whatever size the picture had. A patch is ``size // grid`` pixels wide, as encoders
cut it; the pixels left over at the right and at the bottom belong to no patch. Patches are numbered row by row.
"""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from interleave import BadSample, VisionSpec

from .view import Camera, Matrix, View

Fit = Literal["square", "pad"]
"""How a picture becomes a square view: stretched, or padded with the mean colour on both sides."""
SAMPLES = 4
"""Depth is looked up at SAMPLES x SAMPLES points of every patch."""


def picture_to_square(width: int, height: int, fit: Fit) -> Matrix:
    """(3, 3) from (x, y, 1) in pixels of a picture of ``width`` x ``height`` to (x, y, 1) in its square view."""
    if fit == "square":
        return np.diag([1 / width, 1 / height, 1.0])
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2  # whole pixels of padding, as the views are made
    return np.array([[1 / side, 0, left / side], [0, 1 / side, top / side], [0, 0, 1.0]])


def patch_points(vision: VisionSpec, samples: int = 1) -> Matrix:
    """(grid * grid, samples * samples, 3) points of each patch, as (x, y, 1) in a square view.

    They lie evenly in the patch; a single one is its middle.
    """
    side = vision.size // vision.grid / vision.size  # of a patch, where the view's side is 1
    within = (np.arange(samples) + 0.5) / samples  # (samples,) offsets in a patch whose side is 1
    line = ((np.arange(vision.grid)[:, None] + within) * side).ravel()  # (grid * samples,) along one axis
    x, y = np.meshgrid(line, line)
    points = np.stack([x, y, np.ones_like(x)], -1)  # (grid * samples, grid * samples, 3)
    cut = points.reshape(vision.grid, samples, vision.grid, samples, 3)  # patch row, row in it, patch column, column
    return cut.transpose(0, 2, 1, 3, 4).reshape(vision.grid**2, samples**2, 3)


def unprojection(camera: Camera, fit: Fit) -> Matrix:
    """(3, 3) from (x, y, 1) in the square view of a camera's picture to the point at depth 1 in camera axes.

    Raises BadSample where the intrinsics cannot be inverted.
    """
    try:
        # a point p in camera axes is seen at S K p, with S from the picture's pixels to the square view
        inverse = np.linalg.inv(picture_to_square(camera.width, camera.height, fit) @ camera.intrinsics)
    except np.linalg.LinAlgError:
        focal = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
        raise BadSample(
            "broken camera", f"intrinsics with focal lengths {focal[0]:g} and {focal[1]:g} are no camera's"
        ) from None
    return inverse.astype(np.float64)


def ray_matrix(camera: Camera, fit: Fit) -> Matrix:
    """(3, 4): what is seen at (x, y) of a square view at depth z lies at ``matrix @ (x z, y z, z, 1)`` in the world.

    The first three columns turn a position in the view into the direction of its ray; the last is the ray's origin.
    """
    return np.hstack([camera.pose[:3, :3] @ unprojection(camera, fit), camera.pose[:3, 3:]])


def patch_rays(matrices: Tensor, vision: VisionSpec) -> tuple[Tensor, Tensor]:
    """The rays through the middles of all patches, from the (V, 3, 4) ray matrices of their views.

    Returns origins (V, 1, 3), and directions (V, grid * grid, 3) from there to the point at depth 1.
    """
    side = vision.size // vision.grid / vision.size  # as in ``patch_points``, but made on the device
    line = (torch.arange(vision.grid, dtype=matrices.dtype, device=matrices.device) + 0.5) * side  # (grid,)
    y, x = torch.meshgrid(line, line, indexing="ij")  # (grid, grid) each
    middles = torch.stack([x, y, torch.ones_like(x)], -1).flatten(0, 1)  # (P, 3), P = grid * grid
    return matrices[:, None, :, 3], torch.einsum("vij,pj->vpi", matrices[..., :3], middles)


def pluecker(origins: Tensor, directions: Tensor) -> Tensor:
    """(..., 6) Plücker coordinates of lines through ``origins`` (..., 3) along ``directions`` (..., 3).

    These are the unit direction d and the moment o x d. Any other point o + t d of the line has the same moment,
    because d x d = 0: the coordinates belong to the line and not to the point.
    """
    unit = F.normalize(directions, dim=-1)
    return torch.cat([unit, torch.linalg.cross(origins.expand_as(unit), unit)], -1)


def relative_pose(pose: Matrix, first: Matrix) -> Matrix:
    """(4, 4) a camera-to-world pose as camera to the axes of another camera, whose pose is ``first``."""
    return np.linalg.inv(first) @ pose  # camera to world, then world to the first camera


def patch_depth(view: View, vision: VisionSpec, fit: Fit) -> Matrix:
    """(grid * grid,) depth of each patch in metres, 0 where it is unknown. Raises BadSample.

    It is the lower median of the depths that are known in the patch. A mean could lie between two surfaces, where there
    is nothing; the lower median is always the depth of something.
    """
    depth, camera = view.depth_in_metres(), view.camera
    if depth is None or camera is None:
        return np.zeros(vision.grid**2)
    height, width = depth.shape
    ahead = patch_points(vision, SAMPLES) @ unprojection(camera, fit).T  # (P, S, 3) at depth 1, S = SAMPLES**2
    depth_camera = view.depth_camera(width, height)
    assert depth_camera is not None
    # intrinsics give (x, y, 1) at depth 1, so no division is needed; floor is the pixel that holds the point
    x, y, _ = np.floor(ahead @ depth_camera.intrinsics.T).astype(int).transpose(2, 0, 1)  # each (P, S)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = np.where(inside, depth[y.clip(0, height - 1), x.clip(0, width - 1)], 0)  # (P, S)
    known = (found > 0).sum(1)  # (P,)
    found = np.sort(np.where(found > 0, found, np.inf), axis=1)  # unknown depths go to the end
    middle = found[np.arange(len(found)), (known - 1).clip(0) // 2]  # (P,) the lower of two middle ones
    return np.where(known > 0, middle, 0.0)


def back_project(depth: NDArray[np.floating], camera: Camera) -> Matrix:
    """(H, W, 3) points of the world that a depth map (H, W) of the camera shows, in the unit of depth.

    Where depth is 0 the point is the camera's centre.
    """
    height, width = depth.shape
    camera = camera.resized(width, height)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)  # centres of pixels, each (H, W)
    ahead = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(camera.intrinsics).T  # (H, W, 3) at depth 1
    points: Matrix = (ahead * depth[..., None]) @ camera.pose[:3, :3].T + camera.centre  # R (z K^-1 pixel) + c
    return points
