"""Meshes and point clouds as views: the only place that reads them, and that imports trimesh and Embree.

Without a display: nothing here needs a window or a graphics driver.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from interleave import BadSample, InputError

from ..cameras import focal_of, pinhole
from ..ray_casting import PLAIN, Cloud, Mesh, Surface
from ..synthetic.render import look_at
from ..view import Camera, Matrix, View

Up = Literal["y", "z"]
MESHES: Mapping[str, Up] = {".ply": "z", ".glb": "y", ".obj": "y"}
"""Endings of the files that can be drawn, and the axis that points up in them: glTF says so; scans, which are mostly
.ply, have z up, and models that were made in an editor, mostly .obj, y."""
SIDE = 384
ANGLE = 0.9
"""Field of view, in radians."""
RISE = 0.45
"""How far above the horizon the cameras stand, in radians from the middle."""
MARGIN = 1.05
UPRIGHT = {"z": np.eye(4), "y": np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])}
"""World with z up -> the file's."""
BROKEN = (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, EOFError, OverflowError, MemoryError,
          NotImplementedError, AssertionError, struct.error, json.JSONDecodeError)  # fmt: skip
"""What trimesh's readers raise on files that are not what their name says."""


def render_views(path: Path, count: int) -> list[View]:
    """``render`` as it is used where a scene is given by its file."""
    return render(path, count)


def render(path: str | Path, count: int, size: int = SIDE, up: Up | None = None, rise: float = RISE) -> list[View]:
    """A mesh or a point cloud from ``count`` cameras on a ring around it, each seeing all of it.

    size: of the square pictures, in pixels. up: the axis that points up in the file; None goes by its ending. rise: of
    the cameras above the horizon, in radians. Colours are those of vertices, faces or textures, lit from the camera;
    depth is that of the surface at the middle of each pixel, in the file's units, and 0 beside the object. A room is
    seen from outside. Points are drawn where a file has no faces.

    Raises BadSample for a file that cannot be read or shows nothing, InputError where the extra is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in MESHES:
        raise BadSample("unknown scene", f"{path} is no mesh that is known; its ending must be {', '.join(MESHES)}")
    shape = _read(path)
    low, high = shape.places.min(0), shape.places.max(0)
    middle = (low + high) / 2
    radius = float(np.linalg.norm(shape.places - middle, axis=1).max())
    if not radius > 0:
        raise BadSample("empty mesh", f"{path} is a single point; there is nothing to look at")
    world = UPRIGHT[up or MESHES[path.suffix.lower()]]
    views = [shape.draw(camera) for camera in _ring(count, size, rise, world, middle, radius)]
    return [replace(view, name=f"{number:03d}") for number, view in enumerate(views)]


def _ring(count: int, size: int, rise: float, world: Matrix, middle: Matrix, radius: float) -> list[Camera]:
    """Cameras that see a ball around ``middle``, evenly around it."""
    focal = focal_of(ANGLE, size)
    intrinsics = pinhole(focal, focal, size / 2, size / 2)
    far = MARGIN * radius / np.sin(ANGLE / 2)
    cameras = []
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False):
        place = far * np.array([np.cos(angle) * np.cos(rise), np.sin(angle) * np.cos(rise), np.sin(rise)])
        pose = world @ look_at(place, np.zeros(3))
        pose[:3, 3] += middle
        cameras.append(Camera(pose, intrinsics, size, size))
    return cameras


def _read(path: Path) -> Mesh | Cloud:
    trimesh = _trimesh()
    if not path.is_file():
        raise BadSample("missing file", f"{path} does not exist")
    try:
        shapes = trimesh.load_scene(path, process=False).dump(concatenate=False)
    except BROKEN as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadSample("broken mesh", f"{path} cannot be read: {reason}") from None
    parts = [s for s in shapes if isinstance(s, trimesh.Trimesh) and len(s.faces) and len(s.vertices)]
    clouds = [s for s in shapes if isinstance(s, trimesh.PointCloud) and len(s.vertices)]
    for shape in [*parts, *clouds]:
        if not np.isfinite(shape.vertices).all():
            raise BadSample("broken mesh", f"{path} has vertices that are not finite")
    if parts:
        surfaces = [Surface(np.asarray(s.vertices), np.asarray(s.faces), s.visual) for s in parts]
        return Mesh(surfaces, _tracer(surfaces, trimesh))
    if clouds:
        return Cloud(np.concatenate([c.vertices for c in clouds]), np.concatenate([_painted(c) for c in clouds]))
    raise BadSample("empty mesh", f"{path} holds neither faces nor points")


def _painted(cloud: Any) -> Matrix:
    """(n, 3) colours of trimesh's points."""
    colours = np.asarray(cloud.colors, np.float64)
    return colours[:, :3] if len(colours) == len(cloud.vertices) else np.tile(PLAIN, (len(cloud.vertices), 1))


def _tracer(surfaces: list[Surface], trimesh: ModuleType) -> Any:
    """Of all surfaces' faces, one after another."""
    starts = np.cumsum([0, *(len(s.vertices) for s in surfaces)])
    whole = trimesh.Trimesh(
        np.concatenate([s.vertices for s in surfaces]),
        np.concatenate([s.faces + start for s, start in zip(surfaces, starts, strict=False)]),
        process=False,
    )
    return trimesh.ray.ray_pyembree.RayMeshIntersector(whole)


def _trimesh() -> ModuleType:
    try:
        import trimesh
        import trimesh.ray.ray_pyembree
    except ImportError as error:
        raise InputError(
            f"drawing a mesh needs trimesh and embreex ({error}); install them: pip install 'interleave[meshes]'"
        ) from None
    return trimesh
