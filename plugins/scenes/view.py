"""The two nouns of 3D scenes, ``Camera`` and ``View``. Every reader of a format makes them; everything else takes them.

Conventions, everywhere in this package:

- Camera axes are OpenCV's: x to the right, y down, z into the picture.
- A pose is camera to world: ``point_in_world = pose[:3, :3] @ point_in_camera + pose[:3, 3]``.
- World axes are those of the data; lengths are metres where the data knows its unit.
- Pixels are measured from the upper left corner of the picture, so the centre of the first pixel is at (0.5, 0.5), as
  in COLMAP and Nerfstudio. Intrinsics then scale with the picture. Readers of formats that measure from the centre of
  the first pixel (OpenCV, ScanNet, nuScenes) add the half pixel.
- Depth is the z coordinate in camera axes, not the length of the ray.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from interleave import BadSample

Matrix = NDArray[np.float64]
DepthSource = str | Path | NDArray[np.floating]
"""The path of a 16-bit picture in millimetres, or an (H, W) array in metres."""


@dataclass(frozen=True)
class Camera:
    """Where a picture was taken from, in which direction, and through which lens (a pinhole).

    pose: (4, 4) camera to world.
    intrinsics: (3, 3) camera axes to pixels, for a picture of ``width`` x ``height`` pixels.
    width, height: in pixels. The file of the picture may have another size; it shows the same field of view.
    """

    pose: Matrix
    intrinsics: Matrix
    width: int
    height: int

    @property
    def centre(self) -> Matrix:
        """(3,) position of the camera in the world."""
        return self.pose[:3, 3]  # the camera's origin, moved into the world

    @property
    def direction(self) -> Matrix:
        """(3,) the viewing direction in the world, of length 1."""
        return self.pose[:3, 2]  # the camera's z axis, turned into the world

    def resized(self, width: int, height: int) -> "Camera":
        """The same camera for its picture at another size in pixels."""
        # K' = diag(sx, sy, 1) K: focal lengths and principal point scale with the picture
        scale = np.diag([width / self.width, height / self.height, 1.0])  # (3, 3)
        return Camera(self.pose, scale @ self.intrinsics, width, height)


@dataclass(frozen=True)
class View:
    """One picture of a scene, and what is known of its camera and its depth.

    picture: anything that ``interleave.load_image`` reads; it is opened only when the view is shown.
    camera: None where only the picture is known.
    depth: None where there is none. Its size may differ from the picture's; its field of view is the same, unless
        ``depth_intrinsics`` says otherwise. A depth of 0 means unknown.
    name: the name of the view in the data, for error messages.
    depth_intrinsics: (3, 3) in pixels of the depth map, for data that has a depth sensor with its own lens.
    """

    picture: object
    camera: Camera | None = None
    depth: DepthSource | None = None
    name: str = ""
    depth_intrinsics: Matrix | None = None

    def depth_in_metres(self) -> Matrix | None:
        """(H, W) depth along the camera's z axis in metres, 0 where it is unknown; None where the view has no depth.

        Raises BadSample where the depth cannot be read or has not two dimensions.
        """
        if self.depth is None:
            return None
        depth = _depth_in_metres(self.depth)
        if depth.ndim != 2:
            raise BadSample("broken depth", f"depth of view {self.name!r} has {depth.ndim} dimensions; it must have 2")
        known = np.isfinite(depth) & (depth > 0)
        return np.where(known, depth, 0.0).astype(np.float64)  # (H, W)

    def depth_camera(self, width: int, height: int) -> Camera | None:
        """The camera in pixels of a depth map of ``width`` x ``height``; None where the view has no camera."""
        if self.camera is None:
            return None
        if self.depth_intrinsics is not None:
            return Camera(self.camera.pose, self.depth_intrinsics, width, height)
        return self.camera.resized(width, height)


def _depth_in_metres(source: DepthSource) -> NDArray[np.floating]:
    if isinstance(source, (str, Path)):
        return _read_depth(Path(source)) / 1000  # files hold millimetres
    return np.asarray(source)


def _read_depth(path: Path) -> Matrix:
    """(H, W) the numbers of a depth picture, in the unit of the file. Raises BadSample."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("I;16", "I;16B", "I", "F"):
                raise BadSample("broken depth", f"{path} is a picture of mode {image.mode}; depth has 16 bits")
            return np.asarray(image, np.float64)
    except FileNotFoundError:
        raise BadSample("missing file", f"{path} does not exist") from None
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise BadSample("broken depth", f"{path} cannot be decoded: {error}") from None
