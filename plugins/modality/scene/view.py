"""The nouns of 3D scenes. Every format is read into them, and everything else starts from them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """Where and how a picture was taken, in OpenCV's axes: x to the right, y down, z into the picture.

    pose: (4, 4) camera to world, in metres where the data knows them. intrinsics: (3, 3), in pixels of a picture of
    ``width`` x ``height``.
    """

    pose: Matrix
    intrinsics: Matrix
    width: int
    height: int

    @property
    def centre(self) -> Matrix:
        """(3,) in the world."""
        return self.pose[:3, 3]


@dataclass(frozen=True)
class View:
    """One picture of a scene.

    picture: what ``load_image`` reads. camera: None where only the picture is known. depth: a 16-bit picture in
    millimetres (a path), or (H, W) float metres, 0 where it is not known; None where there is none. name: in the data.
    """

    picture: Any
    camera: Camera | None = None
    depth: Any = None
    name: str = ""
