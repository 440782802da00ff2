"""COLMAP's sparse models, in text or binary, through pycolmap: the only place that knows it.

COLMAP has OpenCV's camera axes, world-to-camera poses, and pixels measured from the upper left corner.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interleave import BadSample, InputError

from ..cameras import make_camera
from ..scene_paths import inside
from ..view import Camera, View

if TYPE_CHECKING:
    import pycolmap

PLACES = (".", "sparse/0", "sparse", "colmap/sparse/0")
"""Where the model of a scene folder lies."""
FLAT_MODELS = frozenset({"SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"})
"""Camera models whose pictures are flat; their slight distortion is not undone."""


def find_model(folder: Path) -> Path | None:
    """The folder that holds the model of a scene folder, which may be the scene folder itself; None for none."""
    for place in PLACES:
        for suffix in (".bin", ".txt"):
            if all((folder / place / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
                return folder / place
    return None


def read_colmap(model: Path) -> list[View]:
    """The registered pictures of a model, ordered by name, without depth.

    Raises BadSample for a model that is broken or lacks a picture, InputError where pycolmap is not installed.
    """
    try:
        import pycolmap
    except ImportError:
        raise InputError("COLMAP models need pycolmap: pip install interleave[colmap]") from None
    try:
        read = pycolmap.Reconstruction(str(model))
    except (ValueError, IndexError, RuntimeError) as error:
        raise BadSample("broken scene", f"{model} is no COLMAP model: {str(error).splitlines()[0]}") from None
    registered = [image for image in read.images.values() if image.has_pose]
    if not registered:
        raise BadSample("no poses", f"{model} has {len(read.images)} pictures, and none is registered")
    registered.sort(key=lambda image: str(image.name))
    pictures = _find_pictures(model, str(registered[0].name))
    return [_view(pictures, image, read.cameras[image.camera_id]) for image in registered]


def _view(pictures: Path, image: "pycolmap.Image", camera: "pycolmap.Camera") -> View:
    picture = inside(pictures, image.name)
    if not picture.is_file():
        raise BadSample("missing file", f"{picture} does not exist, and the COLMAP model has it")
    return View(picture, _camera(image, camera), None, str(image.name))


def _camera(image: "pycolmap.Image", camera: "pycolmap.Camera") -> Camera:
    if camera.model_name not in FLAT_MODELS:
        raise BadSample(
            "camera model", f"{image.name} has a {camera.model_name} camera; undistort its pictures to a pinhole first"
        )
    pose = np.eye(4)
    pose[:3] = image.cam_from_world().inverse().matrix()  # world to camera, inverted
    size = (int(camera.width), int(camera.height))
    return make_camera(pose, camera.calibration_matrix(), size, str(image.name), from_centre=False)


def _find_pictures(model: Path, name: str) -> Path:
    """The folder that pictures' names start from: ``images`` beside the model or above it, or one of these themselves.

    name: of one picture, by which the folder is recognised. Raises BadSample.
    """
    above = [model, model.parent, model.parent.parent, model.parent.parent.parent]
    for place in above:
        for folder in (place / "images", place / "."):
            if inside(folder, name).is_file():
                return folder
    raise BadSample("missing file", f"no images folder beside the COLMAP model {model} has {name}")
