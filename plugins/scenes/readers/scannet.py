"""ScanNet's folders: color, depth, pose and intrinsics. The only place that knows how they are named.

ScanNet has OpenCV's camera axes, camera-to-world poses in metres, and pixels measured from the centre of the first one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from interleave import BadSample, image_size, list_frames

from ..cameras import make_camera, read_matrix, shift_origin
from ..view import Matrix, View

INTRINSICS = ("intrinsic/intrinsic_{}.txt", "intrinsics_{}.txt")
"""The files of intrinsics, of ``color`` or ``depth``: the exporter's, and those of ``scannet_frames_25k``."""


def is_scannet(folder: Path) -> bool:
    """Whether the folder has ScanNet's form: ``color``, and beside it ``pose`` or ``depth``."""
    return (folder / "color").is_dir() and any((folder / name).is_dir() for name in ("pose", "depth"))


def read_scannet(folder: Path) -> list[View]:
    """Frames in the order of their numbers. Raises BadSample.

    Frames whose pose is not finite are left out: ScanNet writes -inf where tracking was lost.
    """
    pictures = list_frames(folder / "color")
    depths = _files_by_stem(folder / "depth")
    _check_files(folder, pictures, _files_by_stem(folder / "pose"), "pose")
    if (folder / "depth").is_dir():
        _check_files(folder, pictures, depths, "depth")
    intrinsics = _read_intrinsics(folder, "color")
    if intrinsics is None:
        names = [name.format("color") for name in INTRINSICS]
        raise BadSample("missing intrinsics", f"{folder} has neither {' nor '.join(names)}")
    size = image_size(pictures[0])
    depth_intrinsics = _read_intrinsics(folder, "depth")
    if depth_intrinsics is not None:
        depth_intrinsics = shift_origin(depth_intrinsics, 0.5)
    views = []
    for picture in pictures:
        pose = read_matrix(folder / "pose" / f"{picture.stem}.txt")  # (4, 4) camera to world
        if np.isfinite(pose).all():
            camera = make_camera(pose, intrinsics, size, f"{folder.name}/{picture.name}", from_centre=True)
            views.append(View(picture, camera, depths.get(picture.stem), picture.stem, depth_intrinsics))
    if not views:
        raise BadSample("no poses", f"{folder}: none of the {len(pictures)} poses is finite")
    return views


def _read_intrinsics(folder: Path, sensor: str) -> Matrix | None:
    """(3, 3) intrinsics of ``color`` or ``depth``, from a file of 3 x 3 or 4 x 4 numbers; None where there is no file.

    Raises BadSample where the file is broken.
    """
    for name in INTRINSICS:
        path = folder / name.format(sensor)
        if path.is_file():
            return read_matrix(path, ((4, 4), (3, 3)))[:3, :3]
    return None


def _files_by_stem(folder: Path) -> Mapping[str, Path]:
    """The files of a folder by their names without suffix; nothing where there is no folder."""
    return {path.stem: path for path in folder.iterdir()} if folder.is_dir() else {}


def _check_files(folder: Path, pictures: Sequence[Path], files: Mapping[str, Path], what: str) -> None:
    """Raises BadSample where a picture lacks its file; files without a picture are frames that were not exported."""
    lacking = [picture.stem for picture in pictures if picture.stem not in files]
    if lacking:
        counts = f"color holds {len(pictures)} pictures and {what} {len(files)} files"
        raise BadSample(f"missing {what}", f"{folder}: {counts}; {len(lacking)} lack theirs, first {lacking[0]!r}")
