"""``transforms.json`` of NeRF, instant-ngp and Nerfstudio: the only place that knows its keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interleave import BadSample

from ..cameras import as_matrix, focal_of, make_camera, pinhole, size_of
from ..scene_paths import inside, read_object
from ..view import Camera, Matrix, View

FILES = ("transforms.json", "transforms_train.json")
SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".JPG", ".webp")
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenGL's camera axes (y up, z towards the eye) to OpenCV's."""
LENSES = frozenset({"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE"})
"""Camera models whose pictures are flat; their slight distortion is not undone."""


def transforms_of(folder: Path) -> Path | None:
    """The file of a folder that has one."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def read_nerf(path: Path) -> list[View]:
    """Frames in the order of the file. Depth is a 16-bit picture in millimetres, as Nerfstudio has it.

    Raises BadSample.
    """
    shared = read_object(path)
    frames = shared.get("frames")
    if not isinstance(frames, list) or not frames:
        raise BadSample("no frames", f"{path} has no list of frames, or an empty one")
    return [_view(path, number, {**shared, **frame}) for number, frame in enumerate(frames)]


def _view(path: Path, number: int, frame: Mapping[str, Any]) -> View:
    """``frame``: what is said of the frame, over what is said of all."""
    name = f"{path.name} frame {number}"
    if "file_path" not in frame or "transform_matrix" not in frame:
        raise BadSample("broken frame", f"{path}: frame {number} needs file_path and transform_matrix")
    picture = _picture(path.parent, str(frame["file_path"]))
    depth = inside(path.parent, frame["depth_file_path"]) if frame.get("depth_file_path") else None
    pose = as_matrix(frame["transform_matrix"], 4, 4, f"transform_matrix of {name}") @ FLIP
    return View(picture, _camera(frame, pose, picture, name), depth, picture.stem)


def _camera(frame: Mapping[str, Any], pose: Matrix, picture: Path, name: str) -> Camera:
    model = str(frame.get("camera_model", "OPENCV"))
    if model not in LENSES or frame.get("is_fisheye"):
        raise BadSample("camera model", f"{name} has a {model} camera; undistort its pictures to a pinhole first")
    size = size_of(picture)
    if "w" in frame and "h" in frame:
        size = int(_number(frame, "w", name)), int(_number(frame, "h", name))
    centre = (_number(frame, key, name, side / 2) for key, side in zip(("cx", "cy"), size, strict=True))
    return make_camera(pose, pinhole(*_focal(frame, size, name), *centre), size, name, from_centre=False)


def _focal(frame: Mapping[str, Any], size: tuple[int, int], name: str) -> tuple[float, float]:
    """In x and y; what is said of one holds for the other, where that is not said."""
    given = {}
    for key, angle, side in (("fl_x", "camera_angle_x", size[0]), ("fl_y", "camera_angle_y", size[1])):
        if key in frame:
            given[key] = _number(frame, key, name)
        elif angle in frame:
            given[key] = focal_of(_number(frame, angle, name), side)
    if not given:
        raise BadSample("missing intrinsics", f"{name} has neither fl_x nor camera_angle_x")
    one = next(iter(given.values()))
    return given.get("fl_x", one), given.get("fl_y", one)


def _number(frame: Mapping[str, Any], key: str, name: str, default: float = 0.0) -> float:
    value = frame.get(key, default)
    if not isinstance(value, (int, float)):
        raise BadSample("broken intrinsics", f"{key} of {name} is {value!r}; it must be a number")
    return float(value)


def _picture(folder: Path, name: str) -> Path:
    """The file of a frame; NeRF's synthetic scenes name it without a suffix."""
    path = inside(folder, name)
    for suffix in SUFFIXES:
        candidate = path.with_name(path.name + suffix)
        if candidate.is_file():
            return candidate
    raise BadSample("missing file", f"{path} does not exist, with or without a suffix")
