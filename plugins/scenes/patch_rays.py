"""The geometry of patches: where the light that fills a patch of a view comes from. Numbers only, no weights.

A square view is measured from its upper left corner in units of its side, whatever size the picture had. A patch is
``size // grid`` pixels wide, as encoders cut it: what is left over at the right and at the bottom belongs to none.
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
SAMPLES = 4
"""Depth is looked up at so many places a side of every patch."""


def to_square(width: int, height: int, fit: Fit) -> Matrix:
    """(3, 3): pixels of a picture -> its square view of side 1."""
    if fit == "square":
        return np.diag([1 / width, 1 / height, 1.0])
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    return np.array([[1 / side, 0, left / side], [0, 1 / side, top / side], [0, 0, 1.0]])


def places(vision: VisionSpec, samples: int = 1) -> Matrix:
    """(grid * grid, samples * samples, 3): middles of patches, or places in them, as (x, y, 1) in a square view."""
    side = vision.size // vision.grid / vision.size
    within = (np.arange(samples) + 0.5) / samples
    line = ((np.arange(vision.grid)[:, None] + within) * side).ravel()
    x, y = np.meshgrid(line, line)
    cut = np.stack([x, y, np.ones_like(x)], -1).reshape(vision.grid, samples, vision.grid, samples, 3)
    return cut.transpose(0, 2, 1, 3, 4).reshape(vision.grid**2, samples**2, 3)


def lens(camera: Camera, fit: Fit) -> Matrix:
    """(3, 3): (x, y, 1) in a square view -> the point at depth 1 in the camera's own axes. Raises BadSample."""
    try:
        inverse = np.linalg.inv(to_square(camera.width, camera.height, fit) @ camera.intrinsics)
    except np.linalg.LinAlgError:
        focal = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
        raise BadSample(
            "broken camera", f"intrinsics with focal lengths {focal[0]:g} and {focal[1]:g} are no camera's"
        ) from None
    return inverse.astype(np.float64)


def ray_matrix(camera: Camera, fit: Fit) -> Matrix:
    """(3, 4): what is seen at (x, y) of a square view at depth z lies at ``matrix @ (x z, y z, z, 1)`` in the world."""
    return np.hstack([camera.pose[:3, :3] @ lens(camera, fit), camera.pose[:3, 3:]])


def patch_rays(matrices: Tensor, vision: VisionSpec) -> tuple[Tensor, Tensor]:
    """(V, 3, 4) ray matrices -> origins (V, 1, 3), and what is seen at depth 1 from there (V, grid * grid, 3)."""
    middles = torch.from_numpy(places(vision)[:, 0]).to(matrices)
    return matrices[:, None, :, 3], torch.einsum("vij,pj->vpi", matrices[..., :3], middles)


def pluecker(origins: Tensor, directions: Tensor) -> Tensor:
    """(..., 6): unit direction and moment of lines. The moment is the same wherever on the line the origin lies."""
    unit = F.normalize(directions, dim=-1)
    return torch.cat([unit, torch.linalg.cross(origins.expand_as(unit), unit)], -1)


def relative(pose: Matrix, first: Matrix) -> Matrix:
    """(4, 4): a pose in the axes of another camera."""
    return np.linalg.inv(first) @ pose


def patch_depth(view: View, vision: VisionSpec, fit: Fit) -> Matrix:
    """(grid * grid,) depth of each patch, 0 where it is not known.

    It is the lower median of what is known in the patch: a depth that is there, never one between two surfaces.
    """
    depth, camera = view.metres(), view.camera
    if depth is None or camera is None:
        return np.zeros(vision.grid**2)
    height, width = depth.shape
    ahead = places(vision, SAMPLES) @ lens(camera, fit).T
    depth_camera = view.depth_camera(width, height)
    assert depth_camera is not None
    x, y, _ = np.floor(ahead @ depth_camera.intrinsics.T).astype(int).transpose(2, 0, 1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = np.where(inside, depth[y.clip(0, height - 1), x.clip(0, width - 1)], 0)
    known = (found > 0).sum(1)
    found = np.sort(np.where(found > 0, found, np.inf), axis=1)
    middle = found[np.arange(len(found)), (known - 1).clip(0) // 2]
    return np.where(known > 0, middle, 0.0)


def back_project(depth: NDArray[np.floating], camera: Camera) -> Matrix:
    """(H, W) depth and its camera -> (H, W, 3) points in the world; the camera's centre where depth is 0."""
    height, width = depth.shape
    camera = camera.resized(width, height)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ahead = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(camera.intrinsics).T
    points: Matrix = (ahead * depth[..., None]) @ camera.pose[:3, :3].T + camera.centre
    return points
