"""What cameras say about patches, added to their features: the only place where poses become numbers for a model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interleave import VisionSpec

from .cameras import checked_pose
from .patch_rays import Fit, patch_depth, patch_rays, pluecker, ray_matrix, relative_pose
from .view import Camera, Matrix, View

Poses = Literal["none", "pointmap", "rays"]
COORDINATES: Mapping[Poses, int] = {"pointmap": 3, "rays": 6}
"""Numbers that describe a patch: a point, or the Plücker coordinates of a line."""
BANDS = 6
"""Sines and cosines of each coordinate: the longest wave spans 4 scene units, each next one half of it."""
HIDDEN = 256
"""Width of the hidden layer."""
WITHIN = 0.9
"""The scene unit is the distance within which this share of all that is known lies from the first camera."""


class PoseDescription(TypedDict, total=False):
    """The geometry of the n views of a scene that have a camera, as plain numbers. Empty for ``poses=none``.

    Lengths are in scene units, axes are those of the first such view. The keys are part of ``Visual.meta``; tensors,
    so that they travel to the device with their batch.

    posed: (n,) long, the numbers of these views among all views of the visual.
    rays: (n, 12) each one's (3, 4) ray matrix, row by row.
    unit: the scene unit in metres.
    depth: (n, grid * grid) depth of each patch, 0 where it is unknown; (n, 0) where the encoding needs none.
    """

    posed: Tensor
    rays: Tensor
    unit: float
    depth: Tensor


class PatchCoordinates(NamedTuple):
    """values: (n, grid * grid, C + 1) what is known of each patch, and the scene unit.

    known: (n, grid * grid, 1) whether the patch's place is known.
    """

    values: Tensor
    known: Tensor


class PoseEncoding(nn.Module):
    """Adds to each patch's feature what is known of its place in the scene.

    The axes are those of the first view that has a camera, and lengths are divided by a scene unit. So a scene says the
    same wherever its world has its origin, and coordinates have the same size in a room and in a street. The unit
    itself is one more input, as its decimal logarithm, so that lengths in metres are not lost.

    The last layer begins at zero: an untrained encoding changes nothing. A patch without depth has a learned embedding
    of its own. A view without a camera gets nothing, and neither do tokens before the patches, such as a class token.
    """

    def __init__(self, kind: Poses, vision: VisionSpec, llm_dim: int) -> None:
        """
        kind: ``pointmap`` encodes the point in space that the patch shows, from depth. ``rays`` encodes the line on
            which that point lies, as Plücker coordinates of the ray through the patch's middle. ``none`` owns no
            weights and adds nothing.
        vision: of the encoder whose patches are meant.
        llm_dim: width of the features.
        """
        super().__init__()
        self.kind, self.vision = kind, vision
        if kind == "none":
            return
        inputs = COORDINATES[kind] + 1  # and the scene unit
        self.enter = nn.Linear(inputs * (1 + 2 * BANDS), HIDDEN)
        self.leave = nn.Linear(HIDDEN, llm_dim)
        if kind == "pointmap":
            self.unknown = nn.Parameter(torch.empty(HIDDEN))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the initial weights; also called for a model whose checkpoint holds none of these weights."""
        if self.kind == "none":
            return
        self.enter.reset_parameters()
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        if self.kind == "pointmap":
            nn.init.normal_(self.unknown)

    def describe(self, views: Sequence[View], fit: Fit) -> PoseDescription:
        """What ``forward`` needs to know of the views of a scene; ``fit`` says how they were made square.

        Numbers are rounded, so that equal scenes have equal descriptions. Raises BadSample for a camera or a depth map
        that is broken.
        """
        if self.kind == "none":
            return {}
        posed: list[tuple[int, View, Camera]] = []
        for number, view in enumerate(views):
            if view.camera:
                checked_pose(view.camera.pose, f"the pose of view {view.name!r}")
                posed.append((number, view, view.camera))
        if not posed:
            none = torch.zeros(0)
            return {"posed": none.long(), "rays": none, "unit": 1.0, "depth": none}
        first = posed[0][2].pose
        cameras = [replace(camera, pose=relative_pose(camera.pose, first)) for _, _, camera in posed]
        matrices = np.stack([ray_matrix(camera, fit) for camera in cameras])  # (n, 3, 4)
        depth = np.zeros((len(posed), 0))
        if self.kind == "pointmap":
            depth = np.stack([patch_depth(view, self.vision, fit) for _, view, _ in posed])  # (n, grid * grid)
        unit = self._scene_unit(cameras, matrices, depth)
        matrices[..., 3] /= unit  # origins are lengths; the other columns are directions
        return {
            "posed": torch.tensor([number for number, _, _ in posed]),
            "rays": _rounded(matrices.reshape(len(posed), 12)),
            "unit": float(f"{unit:.6g}"),
            "depth": _rounded(depth / unit),
        }

    def _scene_unit(self, cameras: Sequence[Camera], matrices: Matrix, depth: Matrix) -> float:
        """The scene unit in metres: the WITHIN quantile of distances from the first camera; 1 where all are 0.

        What is measured are the points that patches show, or the cameras where no depth is known.
        """
        known = np.stack([camera.centre for camera in cameras])  # (n, 3)
        if (depth > 0).any():
            origins, ahead = patch_rays(torch.from_numpy(matrices), self.vision)
            known = (origins.numpy() + ahead.numpy() * depth[..., None])[depth > 0]  # (points, 3)
        distances = np.linalg.norm(known, axis=-1)
        apart = distances[distances > 1e-9]  # the first camera itself says nothing of the scene's size
        return float(np.quantile(apart, WITHIN)) if len(apart) else 1.0

    def forward(self, features: Tensor, meta: Mapping[str, Any]) -> Tensor:
        """(V, P, D) features of a scene's views, with what is known of their patches added. The shape stays.

        P: tokens of a view, ``vision.prefix`` of them before the patches.
        meta: the ``PoseDescription`` of the views.
        """
        if self.kind == "none":
            return features
        with torch.autocast(features.device.type, enabled=False):  # geometry in half precision would be centimetres off
            coordinates, known = self._coordinates(meta, features.device)
            waves = _waves(coordinates)  # (n, grid * grid, (C + 1) * (1 + 2 * BANDS))
        hidden = F.gelu(self.enter(waves.to(self.enter.weight.dtype)))  # (n, grid * grid, HIDDEN)
        if self.kind == "pointmap":
            hidden = torch.where(known, hidden, self.unknown.to(hidden.dtype))
        added = F.pad(self.leave(hidden).to(features.dtype), (0, 0, self.vision.prefix, 0))  # (n, P, D)
        # also where no view is posed: ranks reduce gradients per parameter, so the weights need one, of zeros
        return features.index_add(0, meta["posed"].to(features.device), added)

    def _coordinates(self, meta: Mapping[str, Any], device: torch.device) -> PatchCoordinates:
        """The coordinates of all patches of the n views that have a camera, in float32."""
        rays = meta["rays"].to(device).view(len(meta["posed"]), 3, 4)
        origins, ahead = patch_rays(rays, self.vision)  # (n, 1, 3), (n, grid * grid, 3)
        known = torch.ones_like(ahead[..., :1], dtype=torch.bool)
        if self.kind == "pointmap":
            depth = meta["depth"].to(device).view_as(ahead[..., :1])
            found, known = origins + depth * ahead, depth > 0  # the point at that depth on the ray
        else:
            found = pluecker(origins, ahead)
        unit = torch.full_like(found[..., :1], float(np.log10(meta["unit"])))
        return PatchCoordinates(torch.cat([found, unit], -1), known)


def _waves(coordinates: Tensor) -> Tensor:
    """(..., C) to (..., C * (1 + 2 * BANDS)): each coordinate, its sines and its cosines, as in NeRF.

    The angular frequencies are pi/2 * 2^k for k < BANDS: wavelengths of 4, 2, 1, ... scene units.
    """
    frequencies = torch.pi / 2 * 2.0 ** torch.arange(BANDS, dtype=torch.float32, device=coordinates.device)
    phases = coordinates[..., None] * frequencies  # (..., C, BANDS)
    return torch.cat([coordinates[..., None], phases.sin(), phases.cos()], -1).flatten(-2)


def _rounded(values: Matrix) -> Tensor:
    """(n, m) float32, rounded to 6 decimals; a zero has no sign, because the bits of 0.0 and -0.0 differ."""
    return torch.from_numpy((values.round(6) + 0.0).astype(np.float32))
