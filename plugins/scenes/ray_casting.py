"""Triangles and points drawn as a camera sees them, on the CPU and without a display. Files are read in meshes.py.

For a mesh, Embree finds the triangle that each pixel's ray hits; depth and colour are then computed from the triangle
itself, in double precision. For a cloud, each point is drawn as a small square that hides what is behind it. The
conventions of axes, pixels and depth are those of view.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KDTree

from .synthetic.render import pixel_rays
from .view import Camera, Matrix, View

Colours = NDArray[np.floating]
Indices = NDArray[np.int64]
BACKGROUND = 235
"""The grey of pixels that show nothing."""
PLAIN = np.array([180.0, 180.0, 180.0])
"""The colour of what has none, from 0 to 255."""
AMBIENT = 0.45
"""The brightness of a face seen from the side; one seen from the front has 1, as with a lamp on the camera."""
NEIGHBOUR, SPREAD = 4, 2.0
"""The side of a point's square is SPREAD times the distance to its NEIGHBOUR-th neighbour: points that lie at random
leave few holes, and those of a scan, which lie on a grid, are not blurred much."""
LARGEST = 15
"""The largest side of a point's square, in pixels."""


class Tracer(Protocol):
    """What is used of trimesh's ``RayMeshIntersector``."""

    def intersects_first(self, ray_origins: Matrix, ray_directions: Matrix) -> Indices:
        """(n,) the number of the first face that each ray (n, 3) hits, -1 for none."""
        ...


@dataclass(frozen=True)
class Surface:
    """Triangles that are coloured in one way.

    vertices: (n, 3) positions in the world.
    faces: (m, 3) numbers of the three vertices of each triangle.
    visual: trimesh's description of the colours: of faces, of vertices, or a texture.
    """

    vertices: Matrix
    faces: Indices
    visual: Any

    def colours(self, faces: Indices, weights: Matrix) -> Colours:
        """(k, 3) colours, from 0 to 255, at k points of the surface.

        faces: (k,) numbers of the faces that hold the points.
        weights: (k, 3) barycentric coordinates of the points in their faces.
        """
        visual, corners = self.visual, self.faces[faces]  # corners: (k, 3) numbers of vertices
        if visual.kind == "face":
            return np.asarray(visual.face_colors)[faces, :3].astype(np.float64)
        if visual.kind == "vertex":
            return _interpolate(np.asarray(visual.vertex_colors), corners, weights)
        if visual.kind != "texture":
            return np.tile(PLAIN, (len(faces), 1))
        material = visual.material
        # a picture first, then colours of vertices that came with the texture, then the material's own colour
        image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        if image is not None and visual.uv is not None:
            positions = _interpolate(visual.uv, corners, weights)  # (k, 2) in the texture
            return np.asarray(material.to_color(positions))[:, :3].astype(np.float64)
        if "color" in visual.vertex_attributes:
            painted = np.asarray(visual.vertex_attributes["color"])
            scale = 1 if painted.dtype == np.uint8 else 255  # glTF has bytes, or floats from 0 to 1
            return _interpolate(painted * scale, corners, weights)
        return np.tile(np.asarray(material.main_color[:3], np.float64), (len(faces), 1))


def _interpolate(values: NDArray[np.floating] | NDArray[np.uint8], corners: Indices, weights: Matrix) -> Matrix:
    """(k, c) the values (n, c) of vertices, blended at k points; of more than three columns the first three.

    corners: (k, 3) vertices of each point's triangle. weights: (k, 3) barycentric coordinates.
    """
    blended: Matrix = (values[corners, :3] * weights[..., None]).sum(1)
    return blended


class Mesh:
    """Surfaces that hide each other."""

    def __init__(self, surfaces: Sequence[Surface], tracer: Tracer) -> None:
        """``tracer``: over the faces of all surfaces, one surface after another."""
        self.surfaces, self.tracer = surfaces, tracer
        self.triangles = np.concatenate([s.vertices[s.faces] for s in surfaces])  # (m, 3 corners, 3)
        self.starts = np.cumsum([0, *(len(s.faces) for s in surfaces)])  # number of each surface's first face

    @property
    def points(self) -> Matrix:
        """(n, 3) the corners of all triangles: what a camera should see."""
        return self.triangles.reshape(-1, 3)

    def draw(self, camera: Camera) -> View:
        """What the camera sees: a picture (H, W, 3) uint8 and depth (H, W), 0 beside the mesh."""
        rays = pixel_rays(camera).reshape(-1, 3)  # (H * W, 3)
        hit = self.tracer.intersects_first(np.broadcast_to(camera.centre, rays.shape), rays)
        pixels = np.flatnonzero(hit >= 0)
        faces, rays = hit[pixels], rays[pixels]
        first, second, third = self.triangles[faces].transpose(1, 0, 2)
        normal = np.cross(second - first, third - first)
        facing = _dot(normal, rays)
        with np.errstate(divide="ignore", invalid="ignore"):
            # the ray c + t r meets the plane (p - first) . n = 0 at t; rays have length 1 along z, so t is the depth
            distance = _dot(normal, first - camera.centre) / facing
            # |cos| of the angle between the face's normal and the ray
            lit = np.abs(facing) / np.linalg.norm(normal, axis=1) / np.linalg.norm(rays, axis=1)
        met = np.isfinite(distance) & (distance > 0)  # not seen from the edge, and in front of the camera
        pixels, faces, distance = pixels[met], faces[met], distance[met]
        points = camera.centre + distance[:, None] * rays[met]  # (k, 3)
        colours = self._colours(faces, points) * (AMBIENT + (1 - AMBIENT) * lit[met, None])
        return _view(camera, pixels, colours, distance)

    def _colours(self, faces: Indices, points: Matrix) -> Colours:
        """(k, 3) colours at points (k, 3), which lie in faces (k,)."""
        weights, found = _barycentric(self.triangles[faces], points), np.empty((len(faces), 3))
        owner = np.searchsorted(self.starts, faces, side="right") - 1  # (k,) the surface that has the face
        for number in np.unique(owner):
            own = owner == number
            found[own] = self.surfaces[number].colours(faces[own] - self.starts[number], weights[own])
        return found


def _barycentric(triangles: Matrix, points: Matrix) -> Matrix:
    """(k, 3) barycentric coordinates of points (k, 3) in triangles (k, 3, 3); not negative, and their sum is 1.

    Each is the area of the triangle between the point and the opposite edge, as a share of the whole.
    """
    first, second, third = triangles.transpose(1, 0, 2)
    whole = np.cross(second - first, third - first)  # twice the area, along the normal
    size = _dot(whole, whole)
    one = _dot(np.cross(third - second, points - second), whole) / size
    two = _dot(np.cross(first - third, points - third), whole) / size
    weights = np.stack([one, two, 1 - one - two], 1).clip(0, 1)
    weights /= weights.sum(1, keepdims=True)
    return weights


def _dot(one: Matrix, two: Matrix) -> Matrix:
    """(k,) scalar products of the rows of two (k, 3) matrices."""
    product: Matrix = (one * two).sum(1)
    return product


@dataclass(frozen=True)
class Cloud:
    """Points without faces.

    points: (n, 3) positions in the world.
    colours: (n, 3) from 0 to 255.
    """

    points: Matrix
    colours: Colours

    @cached_property
    def gap(self) -> float:
        """The median distance of a point to its NEIGHBOUR-th neighbour, over about a thousand of the points."""
        if len(self.points) <= NEIGHBOUR:
            return 0.0
        some = self.points[:: max(1, len(self.points) // 1000)]
        distances = KDTree(self.points).query(some, k=NEIGHBOUR + 1)[0]  # the nearest is the point itself
        return float(np.median(distances[:, -1]))

    def draw(self, camera: Camera) -> View:
        """What the camera sees: a picture (H, W, 3) uint8 and depth (H, W), 0 beside the points."""
        own = (self.points - camera.centre) @ camera.pose[:3, :3]  # (n, 3) in camera axes: R^T (p - c)
        order = np.argsort(-own[:, 2])  # far ones first: of several points in one pixel the last is kept
        order = order[own[order, 2] > 0]  # those in front of the camera
        depth, projected = own[order, 2], own[order] @ camera.intrinsics.T
        columns, rows = np.floor(projected[:, :2] / depth[:, None]).astype(np.int64).T
        # of points in one pixel the nearest hides the others with all of its square
        kept = _last_in_pixels(camera, columns, rows)
        columns, rows, depth, owner = columns[kept], rows[kept], depth[kept], order[kept]
        shown = np.full(camera.height * camera.width, -1)  # the point that each pixel shows
        nearest = np.full(camera.height * camera.width, np.inf)  # and its depth
        for right, down in self._square(camera, depth):
            found = _last_in_pixels(camera, columns + right, rows + down)
            pixels = (rows[found] + down) * camera.width + columns[found] + right
            nearer = depth[found] < nearest[pixels]
            shown[pixels[nearer]], nearest[pixels[nearer]] = owner[found[nearer]], depth[found[nearer]]
        pixels = np.flatnonzero(shown >= 0)
        return _view(camera, pixels, self.colours[shown[pixels]], nearest[pixels])

    def _square(self, camera: Camera, depth: Matrix) -> list[tuple[int, int]]:
        """Steps (right, down) in pixels from the middle of a point's square to all of its pixels.

        All points have the same square, as large as the nearest tenth of them (depth (n,)) needs it.
        """
        # focal length * distance / depth: the gap between points in pixels
        apart = camera.intrinsics[0, 0] * self.gap / np.quantile(depth, 0.1) if len(depth) else 0.0
        side = int(np.clip(np.ceil(SPREAD * apart), 1, LARGEST))
        reach = range(-((side - 1) // 2), side // 2 + 1)
        return [(right, down) for right in reach for down in reach]


def _last_in_pixels(camera: Camera, columns: Indices, rows: Indices) -> Indices:
    """Numbers of the points that are the last ones in their pixel of the picture, ascending.

    columns, rows: (n,) the pixel of each point; points beside the picture are left out.
    """
    inside = np.flatnonzero((columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height))
    last = np.full(camera.height * camera.width, -1)
    last[rows[inside] * camera.width + columns[inside]] = inside  # a later point overwrites an earlier one
    return np.sort(last[last >= 0])


def _view(camera: Camera, pixels: Indices, colours: Colours, distance: Matrix) -> View:
    """A view whose ``pixels`` (k,), numbered row by row, have colours (k, 3) and depth (k,); others show nothing."""
    picture = np.full((camera.height * camera.width, 3), BACKGROUND, np.uint8)
    picture[pixels] = colours.round().clip(0, 255)
    depth = np.zeros(camera.height * camera.width)
    depth[pixels] = distance
    size = (camera.height, camera.width)
    return View(picture.reshape(*size, 3), camera, depth.reshape(size))
