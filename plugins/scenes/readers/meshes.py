"""Meshes and point clouds as views: the only place that reads such files, and that imports trimesh and Embree.

Nothing here needs a display, a window or a graphics driver. ray_casting.py draws what is read.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np

from interleave import BadSample, InputError, one_line

from ..cameras import focal_length, pinhole
from ..ray_casting import PLAIN, Cloud, Mesh, Surface, Tracer
from ..synthetic.render import look_at
from ..view import Camera, Matrix, View

if TYPE_CHECKING:
    import trimesh

Up = Literal["y", "z"]
MESHES: Mapping[str, Up] = {".ply": "z", ".glb": "y", ".obj": "y"}
"""Endings of the files that can be drawn, and the axis that points up in them: glTF says so; scans, which are mostly
.ply, have z up, and models that were made in an editor, mostly .obj, y."""
SIDE = 384
"""Pixels a side of a picture."""
ANGLE = 0.9
"""Field of view, in radians."""
RISE = 0.45
"""How far above the horizon the cameras stand, in radians, seen from the middle of the object."""
MARGIN = 1.05
"""The cameras' distance, in units of that from which the object's ball just fills the picture."""
UPRIGHT: Mapping[Up, Matrix] = {
    "z": np.eye(4),
    "y": np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),
}
"""(4, 4) from a world whose z axis is up to the file's."""
BROKEN = (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, EOFError, OverflowError, MemoryError,
          NotImplementedError, AssertionError, struct.error, json.JSONDecodeError)  # fmt: skip
"""What trimesh's readers raise on files that are not what their name says."""


def render_views(
    path: str | Path, count: int, size: int = SIDE, up: Up | None = None, rise: float = RISE
) -> list[View]:
    """A mesh or a point cloud from ``count`` cameras on a ring around it, each seeing all of it.

    size: width and height of the pictures, in pixels.
    up: the axis that points up in the file; None goes by its ending.
    rise: how far above the horizon the cameras stand, in radians.

    Colours are those of vertices, faces or textures, lit from the camera. Depth is in the file's units and exact at the
    middle of each pixel, 0 beside the object. A room is seen from outside. Points are drawn where a file has no faces.

    Raises BadSample for a file that cannot be read or shows nothing, InputError where the extra is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in MESHES:
        raise BadSample("unknown scene", f"{path} is no mesh that is known; its ending must be {', '.join(MESHES)}")
    shape = _read(path)
    low, high = shape.points.min(0), shape.points.max(0)
    middle = (low + high) / 2
    radius = float(np.linalg.norm(shape.points - middle, axis=1).max())  # of a ball that holds all of it
    if not radius > 0:
        raise BadSample("empty mesh", f"{path} is a single point; there is nothing to look at")
    upright = UPRIGHT[up or MESHES[path.suffix.lower()]]
    cameras = _ring(count, size, rise, upright, middle, radius)
    return [replace(shape.draw(camera), name=f"{number:03d}") for number, camera in enumerate(cameras)]


def _ring(count: int, size: int, rise: float, upright: Matrix, middle: Matrix, radius: float) -> list[Camera]:
    """Cameras evenly around a ball, each seeing all of it.

    size: of the pictures in pixels. rise: in radians. upright: (4, 4) from a world whose z axis is up to the file's.
    middle: (3,) and radius: of the ball, in the file's units.
    """
    focal = focal_length(ANGLE, size)
    intrinsics = pinhole(focal, focal, size / 2, size / 2)
    far = MARGIN * radius / np.sin(ANGLE / 2)  # the rays that touch the ball there enclose ANGLE
    cameras = []
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False):
        position = far * np.array([np.cos(angle) * np.cos(rise), np.sin(angle) * np.cos(rise), np.sin(rise)])
        pose = upright @ look_at(position, np.zeros(3))
        pose[:3, 3] += middle
        cameras.append(Camera(pose, intrinsics, size, size))
    return cameras


def _read(path: Path) -> Mesh | Cloud:
    """All shapes of a file in one. Raises BadSample, and InputError where the extra is not installed."""
    trimesh = _import_trimesh()
    if not path.is_file():
        raise BadSample("missing file", f"{path} does not exist")
    try:
        shapes = trimesh.load_scene(path, process=False).dump(concatenate=False)
    except BROKEN as error:
        raise BadSample("broken mesh", f"{path} cannot be read: {one_line(error)}") from None
    parts = [s for s in shapes if isinstance(s, trimesh.Trimesh) and len(s.faces) and len(s.vertices)]
    clouds = [s for s in shapes if isinstance(s, trimesh.PointCloud) and len(s.vertices)]
    for shape in [*parts, *clouds]:
        if not np.isfinite(shape.vertices).all():
            raise BadSample("broken mesh", f"{path} has vertices that are not finite")
    if parts:
        surfaces = [Surface(np.asarray(s.vertices), np.asarray(s.faces), s.visual) for s in parts]
        return Mesh(surfaces, _tracer(surfaces, trimesh))
    if clouds:
        return Cloud(np.concatenate([c.vertices for c in clouds]), np.concatenate([_colours(c) for c in clouds]))
    raise BadSample("empty mesh", f"{path} holds neither faces nor points")


def _colours(cloud: "trimesh.PointCloud") -> Matrix:
    """(n, 3) colours of points from 0 to 255; grey where the file has none."""
    colours = np.asarray(cloud.colors, np.float64)  # (n, 4), or empty
    return colours[:, :3] if len(colours) == len(cloud.vertices) else np.tile(PLAIN, (len(cloud.vertices), 1))


def _tracer(surfaces: list[Surface], trimesh: ModuleType) -> Tracer:
    """Embree over the faces of all surfaces, one surface after another."""
    vertices, faces, start = [], [], 0
    for surface in surfaces:
        vertices.append(surface.vertices)
        faces.append(surface.faces + start)  # numbers of vertices in the whole
        start += len(surface.vertices)
    whole = trimesh.Trimesh(np.concatenate(vertices), np.concatenate(faces), process=False)
    tracer: Tracer = trimesh.ray.ray_pyembree.RayMeshIntersector(whole)
    return tracer


def _import_trimesh() -> ModuleType:
    try:
        import trimesh
        import trimesh.ray.ray_pyembree
    except ImportError as error:
        raise InputError(
            f"drawing a mesh needs trimesh and embreex ({error}); install them: pip install 'interleave[meshes]'"
        ) from None
    return trimesh
