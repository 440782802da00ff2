"""The nouns of 3D scenes. Every format is read into them, and everything else starts from them.

Pixels are counted from the upper left corner of the picture: the centre of the first one is at (0.5, 0.5), as in COLMAP
and Nerfstudio, so that intrinsics scale with the picture. Readers of formats that count from its centre add the half.
Depth is along the camera's z, not along the ray. World axes are those of the data.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from interleave import BadSample

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """Where and how a picture was taken, in OpenCV's axes: x to the right, y down, z into the picture.

    pose: (4, 4) camera to world, in metres where the data knows them. intrinsics: (3, 3), in pixels of a picture of
    ``width`` x ``height``, whatever size the file has.
    """

    pose: Matrix
    intrinsics: Matrix
    width: int
    height: int

    @property
    def centre(self) -> Matrix:
        """(3,) in the world."""
        return self.pose[:3, 3]

    @property
    def direction(self) -> Matrix:
        """(3,) in the world, of length 1: where it looks."""
        return self.pose[:3, 2]

    def resized(self, width: int, height: int) -> "Camera":
        """The same camera for its picture at another size."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return Camera(self.pose, scale @ self.intrinsics, width, height)


@dataclass(frozen=True)
class View:
    """One picture of a scene.

    picture: what ``load_image`` reads. camera: None where only the picture is known. depth: a 16-bit picture in
    millimetres (a path), or (H, W) float metres, 0 where it is not known; None where there is none. It may have another
    size than the picture, and shows the same field. name: in the data. depth_intrinsics: (3, 3), in pixels of the depth
    picture, where the data has them apart.
    """

    picture: Any
    camera: Camera | None = None
    depth: Any = None
    name: str = ""
    depth_intrinsics: Matrix | None = None

    def metres(self) -> Matrix | None:
        """(H, W) depth along the camera's z in metres, 0 where it is not known; None where there is none.

        Raises BadSample.
        """
        if self.depth is None:
            return None
        raw = _read_depth(Path(self.depth)) / 1000 if isinstance(self.depth, (str, Path)) else np.asarray(self.depth)
        if raw.ndim != 2:
            raise BadSample("broken depth", f"depth of view {self.name!r} has {raw.ndim} dimensions; it must have 2")
        known = np.isfinite(raw) & (raw > 0)
        return np.where(known, raw, 0.0).astype(np.float64)

    def depth_camera(self, width: int, height: int) -> Camera | None:
        """The camera in pixels of the depth picture, whose size is given; None where there is none."""
        if self.camera is None:
            return None
        if self.depth_intrinsics is not None:
            return Camera(self.camera.pose, self.depth_intrinsics, width, height)
        return self.camera.resized(width, height)


def _read_depth(path: Path) -> Matrix:
    """(H, W), in the units of the file."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("I;16", "I;16B", "I", "F"):
                raise BadSample("broken depth", f"{path} is a picture of mode {image.mode}; depth has 16 bits")
            return np.asarray(image, np.float64)
    except FileNotFoundError:
        raise BadSample("missing file", f"{path} does not exist") from None
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise BadSample("broken depth", f"{path} cannot be decoded: {error}") from None
