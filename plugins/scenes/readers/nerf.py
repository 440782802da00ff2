"""``transforms.json`` of NeRF, instant-ngp and Nerfstudio: the only place that knows its keys.

The format has OpenGL's camera axes, camera-to-world poses, and pixels measured from the upper left corner.
"""

from pathlib import Path

import numpy as np

from interleave import BadSample, image_size

from ..cameras import as_matrix, focal_length, make_camera, pinhole
from ..scene_paths import JsonObject, inside, read_object
from ..view import Camera, Matrix, View

FILES = ("transforms.json", "transforms_train.json")
SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".JPG", ".webp")
OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""(4, 4) from OpenGL's camera axes (y up, z towards the eye) to OpenCV's, and back."""
FLAT_MODELS = frozenset({"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE"})
"""Camera models whose pictures are flat; their slight distortion is not undone."""


def find_transforms(folder: Path) -> Path | None:
    """The ``transforms.json`` of a folder, or ``transforms_train.json``; None for neither."""
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    return None


def read_nerf(path: Path) -> list[View]:
    """Frames in the order of the file. Raises BadSample.

    Depth is a 16-bit picture in millimetres, as Nerfstudio has it. What the file says of all frames holds for each
    frame that does not say it itself.
    """
    shared = read_object(path)
    frames = shared.get("frames")
    if not isinstance(frames, list) or not frames:
        raise BadSample("no frames", f"{path} has no list of frames, or an empty one")
    return [_view(path, number, {**shared, **frame}) for number, frame in enumerate(frames)]


def _view(path: Path, number: int, frame: JsonObject) -> View:
    name = f"{path.name} frame {number}"
    if "file_path" not in frame or "transform_matrix" not in frame:
        raise BadSample("broken frame", f"{path}: frame {number} needs file_path and transform_matrix")
    picture = _find_picture(path.parent, str(frame["file_path"]))
    depth = inside(path.parent, frame["depth_file_path"]) if frame.get("depth_file_path") else None
    # OpenCV's axes to OpenGL's, then to the world
    pose = as_matrix(frame["transform_matrix"], 4, 4, f"transform_matrix of {name}") @ OPENGL_TO_OPENCV
    return View(picture, _camera(frame, pose, picture, name), depth, picture.stem)


def _camera(frame: JsonObject, pose: Matrix, picture: Path, name: str) -> Camera:
    """The camera of a frame; ``pose`` (4, 4) is in OpenCV's axes. Raises BadSample."""
    model = str(frame.get("camera_model", "OPENCV"))
    if model not in FLAT_MODELS or frame.get("is_fisheye"):
        raise BadSample("camera model", f"{name} has a {model} camera; undistort its pictures to a pinhole first")
    width, height = image_size(picture)
    if "w" in frame and "h" in frame:
        width, height = int(_number(frame, "w", name)), int(_number(frame, "h", name))
    focal_x, focal_y = _focal_lengths(frame, (width, height), name)
    centre_x = _number(frame, "cx", name, width / 2)
    centre_y = _number(frame, "cy", name, height / 2)
    return make_camera(pose, pinhole(focal_x, focal_y, centre_x, centre_y), (width, height), name, from_centre=False)


def _focal_lengths(frame: JsonObject, size: tuple[int, int], name: str) -> tuple[float, float]:
    """The focal lengths in x and y, in pixels of a picture of ``size``, from lengths or from angles of view.

    Where only one of them is given it holds for both axes. Raises BadSample where none is.
    """
    given = {}
    for key, angle, side in (("fl_x", "camera_angle_x", size[0]), ("fl_y", "camera_angle_y", size[1])):
        if key in frame:
            given[key] = _number(frame, key, name)
        elif angle in frame:
            given[key] = focal_length(_number(frame, angle, name), side)
    if not given:
        raise BadSample("missing intrinsics", f"{name} has neither fl_x nor camera_angle_x")
    either = next(iter(given.values()))
    return given.get("fl_x", either), given.get("fl_y", either)


def _number(frame: JsonObject, key: str, name: str, default: float = 0.0) -> float:
    value = frame.get(key, default)
    if not isinstance(value, (int, float)):
        raise BadSample("broken intrinsics", f"{key} of {name} is {value!r}; it must be a number")
    return float(value)


def _find_picture(folder: Path, name: str) -> Path:
    """The picture of a frame; NeRF's synthetic scenes name it without a suffix. Raises BadSample."""
    path = inside(folder, name)
    for suffix in SUFFIXES:
        candidate = path.with_name(path.name + suffix)
        if candidate.is_file():
            return candidate
    raise BadSample("missing file", f"{path} does not exist, with or without a suffix")
