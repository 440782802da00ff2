"""Triangles and points drawn by a camera, on the CPU and without a display. Files are read in meshes.py.

Embree finds the triangle that a pixel's ray meets, and its depth and colour are computed from the triangle itself, in
double precision; points are small squares behind which others vanish.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KDTree

from .synthetic.render import pixel_rays
from .view import Camera, Matrix, View

Colours = NDArray[np.floating]
GROUND = 235
"""The grey of pixels that show nothing."""
PLAIN = np.array([180.0, 180.0, 180.0])
"""Of what has no colour."""
AMBIENT = 0.45
"""The brightness of a face seen from the side; one seen from the front has 1, as with a lamp on the camera."""
NEIGHBOUR, SPREAD = 4, 2.0
"""The side of a point's square, in distances to its fourth neighbour: points that lie at random leave few holes, and
those of a scan, which lie on a grid, are not blurred much."""
LARGEST = 15
"""Pixels a side of a point's square, at most."""


@dataclass(frozen=True)
class Surface:
    """Triangles with one way of being coloured.

    vertices: (n, 3). faces: (m, 3) numbers of them. visual: trimesh's.
    """

    vertices: Matrix
    faces: NDArray[np.int64]
    visual: Any

    def colours(self, faces: NDArray[np.int64], weights: Matrix) -> Colours:
        """(k, 3) from 0 to 255 at places in faces (k,), by the weights (k, 3) of their corners."""
        visual, corners = self.visual, self.faces[faces]
        if visual.kind == "face":
            return np.asarray(visual.face_colors)[faces, :3].astype(np.float64)
        if visual.kind == "vertex":
            return _blend(np.asarray(visual.vertex_colors), corners, weights)
        if visual.kind != "texture":
            return np.tile(PLAIN, (len(faces), 1))
        material = visual.material
        image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        if image is not None and visual.uv is not None:
            return np.asarray(material.to_color(_blend(visual.uv, corners, weights)))[:, :3].astype(np.float64)
        if "color" in visual.vertex_attributes:
            painted = np.asarray(visual.vertex_attributes["color"])
            return _blend(painted * (1 if painted.dtype == np.uint8 else 255), corners, weights)
        return np.tile(np.asarray(material.main_color[:3], np.float64), (len(faces), 1))


def _blend(values: NDArray[Any], corners: NDArray[np.int64], weights: Matrix) -> Matrix:
    """(k, c): values (n, c) of corners (k, 3), at most three of them, by weights (k, 3)."""
    blended: Matrix = (values[corners, :3] * weights[..., None]).sum(1)
    return blended


class Mesh:
    """Surfaces that hide each other."""

    def __init__(self, surfaces: Sequence[Surface], tracer: Any) -> None:
        """tracer: trimesh's ``RayMeshIntersector`` over all of them, one after another."""
        self.surfaces, self.tracer = surfaces, tracer
        self.triangles = np.concatenate([s.vertices[s.faces] for s in surfaces])
        self.starts = np.cumsum([0, *(len(s.faces) for s in surfaces)])

    @property
    def places(self) -> Matrix:
        """(n, 3): what is to be seen."""
        return self.triangles.reshape(-1, 3)

    def draw(self, camera: Camera) -> View:
        rays = pixel_rays(camera).reshape(-1, 3)
        hit = self.tracer.intersects_first(np.broadcast_to(camera.centre, rays.shape), rays)
        pixels = np.flatnonzero(hit >= 0)
        faces, rays = hit[pixels], rays[pixels]
        first, second, third = self.triangles[faces].transpose(1, 0, 2)
        normal = np.cross(second - first, third - first)
        facing = _dot(normal, rays)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = _dot(normal, first - camera.centre) / facing
            lit = np.abs(facing) / np.linalg.norm(normal, axis=1) / np.linalg.norm(rays, axis=1)
        met = np.isfinite(distance) & (distance > 0)
        pixels, faces, distance = pixels[met], faces[met], distance[met]
        places = camera.centre + distance[:, None] * rays[met]
        colours = self._colours(faces, places) * (AMBIENT + (1 - AMBIENT) * lit[met, None])
        return _view(camera, pixels, colours, distance)

    def _colours(self, faces: NDArray[np.int64], places: Matrix) -> Colours:
        weights, found = _weights(self.triangles[faces], places), np.empty((len(faces), 3))
        owner = np.searchsorted(self.starts, faces, side="right") - 1
        for number in np.unique(owner):
            mine = owner == number
            found[mine] = self.surfaces[number].colours(faces[mine] - self.starts[number], weights[mine])
        return found


def _weights(triangles: Matrix, places: Matrix) -> Matrix:
    """(k, 3): how near places (k, 3) in triangles (k, 3, 3) are to each corner; they sum to 1."""
    first, second, third = triangles.transpose(1, 0, 2)
    whole = np.cross(second - first, third - first)
    size = _dot(whole, whole)
    one = _dot(np.cross(third - second, places - second), whole) / size
    two = _dot(np.cross(first - third, places - third), whole) / size
    weights = np.stack([one, two, 1 - one - two], 1).clip(0, 1)
    weights /= weights.sum(1, keepdims=True)
    return weights


def _dot(one: Matrix, two: Matrix) -> Matrix:
    product: Matrix = (one * two).sum(1)
    return product


@dataclass(frozen=True)
class Cloud:
    """Points.

    places: (n, 3). colours: (n, 3) from 0 to 255.
    """

    places: Matrix
    colours: Colours

    @cached_property
    def gap(self) -> float:
        """The median distance of a point to its neighbour, of about a thousand of them."""
        if len(self.places) <= NEIGHBOUR:
            return 0.0
        some = self.places[:: max(1, len(self.places) // 1000)]
        return float(np.median(KDTree(self.places).query(some, k=NEIGHBOUR + 1)[0][:, -1]))

    def draw(self, camera: Camera) -> View:
        own = (self.places - camera.centre) @ camera.pose[:3, :3]
        order = np.argsort(-own[:, 2])  # far ones first: of several points in one pixel the last is kept
        order = order[own[order, 2] > 0]
        depth, projected = own[order, 2], own[order] @ camera.intrinsics.T
        columns, rows = np.floor(projected[:, :2] / depth[:, None]).astype(np.int64).T
        # of points in one pixel the nearest hides the others with all of its square
        kept = _last(camera, columns, rows)
        columns, rows, depth, owner = columns[kept], rows[kept], depth[kept], order[kept]
        shown, nearest = np.full(camera.height * camera.width, -1), np.full(camera.height * camera.width, np.inf)
        for right, down in self._square(camera, depth):
            found = _last(camera, columns + right, rows + down)
            pixels = (rows[found] + down) * camera.width + columns[found] + right
            nearer = depth[found] < nearest[pixels]
            shown[pixels[nearer]], nearest[pixels[nearer]] = owner[found[nearer]], depth[found[nearer]]
        pixels = np.flatnonzero(shown >= 0)
        return _view(camera, pixels, self.colours[shown[pixels]], nearest[pixels])

    def _square(self, camera: Camera, depth: Matrix) -> list[tuple[int, int]]:
        """Steps in pixels from the middle of a point's square to all of it: as the near ones need it."""
        apart = camera.intrinsics[0, 0] * self.gap / np.quantile(depth, 0.1) if len(depth) else 0.0
        side = int(np.clip(np.ceil(SPREAD * apart), 1, LARGEST))
        reach = range(-((side - 1) // 2), side // 2 + 1)
        return [(right, down) for right in reach for down in reach]


def _last(camera: Camera, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of the points that are the last ones in their pixel of the picture, in their order."""
    inside = np.flatnonzero((columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height))
    last = np.full(camera.height * camera.width, -1)
    last[rows[inside] * camera.width + columns[inside]] = inside
    return np.sort(last[last >= 0])


def _view(camera: Camera, pixels: NDArray[np.int64], colours: Colours, distance: Matrix) -> View:
    picture = np.full((camera.height * camera.width, 3), GROUND, np.uint8)
    picture[pixels] = colours.round().clip(0, 255)
    depth = np.zeros(camera.height * camera.width)
    depth[pixels] = distance
    size = (camera.height, camera.width)
    return View(picture.reshape(*size, 3), camera, depth.reshape(size))
