"""COLMAP's sparse models, in text or binary, through pycolmap: the only place that knows it."""

from pathlib import Path
from typing import Any

import numpy as np

from interleave import BadSample, InputError

from ..cameras import make_camera
from ..scene_paths import inside
from ..view import Camera, View

PLACES = (".", "sparse/0", "sparse", "colmap/sparse/0")
"""Where the model of a scene folder lies."""
LENSES = frozenset({"SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"})
"""Camera models whose pictures are flat; their distortion is not undone."""


def model_of(folder: Path) -> Path | None:
    """The folder of a model in a scene folder, or itself, where there is one."""
    for place in PLACES:
        for suffix in (".bin", ".txt"):
            if all((folder / place / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
                return folder / place
    return None


def read_colmap(model: Path) -> list[View]:
    """Registered pictures by name. Raises BadSample, and InputError where pycolmap is not installed."""
    try:
        import pycolmap
    except ImportError:
        raise InputError("COLMAP models need pycolmap: pip install interleave[colmap]") from None
    try:
        read = pycolmap.Reconstruction(str(model))
    except (ValueError, IndexError, RuntimeError) as error:
        raise BadSample("broken scene", f"{model} is no COLMAP model: {str(error).splitlines()[0]}") from None
    posed = sorted((image for image in read.images.values() if image.has_pose), key=lambda image: str(image.name))
    if not posed:
        raise BadSample("no poses", f"{model} has {len(read.images)} pictures, and none is registered")
    pictures = _pictures(model, str(posed[0].name))
    return [_view(pictures, image, read.cameras[image.camera_id]) for image in posed]


def _view(pictures: Path, image: Any, camera: Any) -> View:
    picture = inside(pictures, image.name)
    if not picture.is_file():
        raise BadSample("missing file", f"{picture} does not exist, and the COLMAP model has it")
    return View(picture, _camera(image, camera), None, str(image.name))


def _camera(image: Any, camera: Any) -> Camera:
    if camera.model_name not in LENSES:
        raise BadSample(
            "camera model", f"{image.name} has a {camera.model_name} camera; undistort its pictures to a pinhole first"
        )
    pose = np.eye(4)
    pose[:3] = image.cam_from_world().inverse().matrix()
    size = (int(camera.width), int(camera.height))
    return make_camera(pose, camera.calibration_matrix(), size, str(image.name), from_centre=False)


def _pictures(model: Path, name: str) -> Path:
    """The folder that the names start from: ``images`` beside the model or above it, or one of these themselves."""
    above = [model, model.parent, model.parent.parent, model.parent.parent.parent]
    folders = [place / sub for place in above for sub in ("images", ".")]
    found = next((folder for folder in folders if inside(folder, name).is_file()), None)
    if found is None:
        raise BadSample("missing file", f"no images folder beside the COLMAP model {model} has {name}")
    return found
