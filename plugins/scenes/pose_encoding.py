"""What cameras say about patches, added to their features: the only place where poses become numbers for a model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interleave import VisionSpec

from .cameras import checked_pose
from .patch_rays import Fit, patch_depth, patch_rays, pluecker, ray_matrix, relative
from .view import Camera, Matrix, View

Poses = Literal["none", "pointmap", "rays"]
COORDINATES: Mapping[Poses, int] = {"pointmap": 3, "rays": 6}
BANDS = 6
"""Sines and cosines of each coordinate: the longest wave spans 4 scene units, each next one half of it."""
HIDDEN = 256
WITHIN = 0.9
"""The scene unit is the distance within which this share of all that is known lies from the first camera."""


class PoseEncoding(nn.Module):
    """Adds to each patch's feature what is known of its place in the scene; tokens before the patches get nothing.

    kind: ``pointmap`` says where in space the patch's surface lies, from depth; ``rays`` the line on which it lies, as
    Plücker coordinates of the ray through its middle; ``none`` owns no weights and adds nothing.

    The axes are those of the first view that has a camera, and lengths are divided by a scene unit, so that a scene
    says the same wherever its world has its origin, and coordinates are of the same size in a room and in a street.
    The unit itself is an input more, as the power of ten, so that lengths in metres are not lost. The last layer begins
    at zero: an untrained encoding changes nothing. A patch without depth has an embedding of its own, which is learned;
    a view without a camera gets nothing.
    """

    def __init__(self, kind: Poses, vision: VisionSpec, llm_dim: int) -> None:
        super().__init__()
        self.kind, self.vision = kind, vision
        if kind == "none":
            return
        self.enter = nn.Linear((COORDINATES[kind] + 1) * (1 + 2 * BANDS), HIDDEN)
        self.leave = nn.Linear(HIDDEN, llm_dim)
        if kind == "pointmap":
            self.unknown = nn.Parameter(torch.empty(HIDDEN))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial weights, also where a checkpoint holds none."""
        if self.kind == "none":
            return
        self.enter.reset_parameters()
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        if self.kind == "pointmap":
            nn.init.normal_(self.unknown)

    def describe(self, views: Sequence[View], fit: Fit) -> dict[str, Any]:
        """What ``forward`` needs to know, as plain numbers: rounded, so that equal scenes are equal.

        posed: numbers of the views that have a camera. rays: the 12 numbers of each one's ray matrix, in scene units.
        unit: the scene unit in metres. depth: of each patch of each of them, in scene units, 0 where it is not known.
        Raises BadSample for a camera or a depth picture that is none.
        """
        if self.kind == "none":
            return {}
        posed = [(number, view, view.camera) for number, view in enumerate(views) if view.camera]
        if not posed:
            return {"posed": [], "rays": [], "unit": 1.0, "depth": []}
        for _, view, camera in posed:
            checked_pose(camera.pose, f"the pose of view {view.name!r}")
        first = posed[0][2].pose
        cameras = [replace(camera, pose=relative(camera.pose, first)) for _, _, camera in posed]
        matrices = np.stack([ray_matrix(camera, fit) for camera in cameras])
        depth = np.zeros((len(posed), 0))
        if self.kind == "pointmap":
            depth = np.stack([patch_depth(view, self.vision, fit) for _, view, _ in posed])
        unit = self._unit(cameras, matrices, depth)
        matrices[..., 3] /= unit
        return {
            "posed": [number for number, _, _ in posed],
            "rays": _rounded(matrices.reshape(len(posed), 12)),
            "unit": float(f"{unit:.6g}"),
            "depth": _rounded(depth / unit),
        }

    def _unit(self, cameras: Sequence[Camera], matrices: Matrix, depth: Matrix) -> float:
        """In metres. What is known are the points of all patches, or the cameras where there is no point."""
        known = np.stack([camera.centre for camera in cameras])
        if (depth > 0).any():
            origins, ahead = patch_rays(torch.from_numpy(matrices), self.vision)
            known = (origins.numpy() + ahead.numpy() * depth[..., None])[depth > 0]
        distances = np.linalg.norm(known, axis=-1)
        return float(np.quantile(distances[distances > 1e-9], WITHIN)) if (distances > 1e-9).any() else 1.0

    def forward(self, features: Tensor, meta: Mapping[str, Any]) -> Tensor:
        """(V, P, D) of a scene's views -> the same, with what ``describe`` said of them."""
        if self.kind == "none":
            return features
        with torch.autocast(features.device.type, enabled=False):  # geometry in half precision would be centimetres off
            coordinates, known = self._coordinates(meta, features.device)
            waves = _waves(coordinates)
        hidden = F.gelu(self.enter(waves.to(self.enter.weight.dtype)))
        if self.kind == "pointmap":
            hidden = torch.where(known, hidden, self.unknown.to(hidden.dtype))
        added = F.pad(self.leave(hidden).to(features.dtype), (0, 0, self.vision.prefix, 0))
        posed = torch.tensor(meta["posed"], dtype=torch.long, device=features.device)
        return features.index_add(0, posed, added)  # of no view, too: the weights get their gradient of zeros

    def _coordinates(self, meta: Mapping[str, Any], device: torch.device) -> tuple[Tensor, Tensor]:
        """Of patches of views with cameras, and the unit: (n, grid * grid, C + 1); where they are known: (..., 1)."""
        rays = torch.tensor(meta["rays"], dtype=torch.float32, device=device).view(len(meta["posed"]), 3, 4)
        origins, ahead = patch_rays(rays, self.vision)
        known = torch.ones_like(ahead[..., :1], dtype=torch.bool)
        if self.kind == "pointmap":
            depth = torch.tensor(meta["depth"], dtype=torch.float32, device=device).view_as(ahead[..., :1])
            found, known = origins + depth * ahead, depth > 0
        else:
            found = pluecker(origins, ahead)
        unit = torch.full_like(found[..., :1], float(np.log10(meta["unit"])))
        return torch.cat([found, unit], -1), known


def _waves(coordinates: Tensor) -> Tensor:
    """(..., C) -> (..., C * (1 + 2 * BANDS)): each coordinate, and its sines and cosines."""
    frequencies = torch.pi / 2 * 2.0 ** torch.arange(BANDS, dtype=torch.float32, device=coordinates.device)
    phases = coordinates[..., None] * frequencies
    return torch.cat([coordinates[..., None], phases.sin(), phases.cos()], -1).flatten(-2)


def _rounded(values: Matrix) -> list[Any]:
    """To 6 decimals; a zero has no sign."""
    rounded: list[Any] = (values.round(6) + 0.0).tolist()
    return rounded
