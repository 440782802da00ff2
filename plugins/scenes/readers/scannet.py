"""ScanNet's folders: color, depth, pose and intrinsics. The only place that knows how they are named."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interleave import BadSample, list_frames

from ..cameras import make_camera, read_matrix, shifted, size_of
from ..view import Camera, Matrix, View

INTRINSICS = ("intrinsic/intrinsic_{}.txt", "intrinsics_{}.txt")
"""As the exporter writes them, and as ``scannet_frames_25k`` has them."""


def is_scannet(folder: Path) -> bool:
    return (folder / "color").is_dir() and any((folder / name).is_dir() for name in ("pose", "depth"))


def read_scannet(folder: Path) -> list[View]:
    """Frames in the order of their numbers; those whose pose is not finite, where tracking was lost, are left out.

    Raises BadSample.
    """
    pictures = sorted(list_frames(folder / "color"), key=_number)
    depths = _by_stem(folder / "depth")
    _each_has(folder, pictures, _by_stem(folder / "pose"), "pose")
    if (folder / "depth").is_dir():
        _each_has(folder, pictures, depths, "depth")
    intrinsics, size = _intrinsics(folder, "color"), size_of(pictures[0])
    of_depth = _intrinsics(folder, "depth", optional=True)
    views = []
    for picture in pictures:
        pose = read_matrix(folder / "pose" / f"{picture.stem}.txt")
        if np.isfinite(pose).all():
            camera = _camera(folder, picture, pose, intrinsics, size)
            apart = None if of_depth is None else shifted(of_depth, 0.5)
            views.append(View(picture, camera, depths.get(picture.stem), picture.stem, apart))
    if not views:
        raise BadSample("no poses", f"{folder}: none of the {len(pictures)} poses is finite")
    return views


def _camera(folder: Path, picture: Path, pose: Matrix, intrinsics: Matrix, size: tuple[int, int]) -> Camera:
    return make_camera(pose, intrinsics, size, f"{folder.name}/{picture.name}", from_centre=True)


def _intrinsics(folder: Path, of: str, optional: bool = False) -> Any:
    """(3, 3) in a matrix of 3 x 3 or 4 x 4. None where it may be missing and is."""
    paths = [folder / name.format(of) for name in INTRINSICS]
    for path in paths:
        if path.is_file():
            return read_matrix(path, ((4, 4), (3, 3)))[:3, :3]
    if optional:
        return None
    raise BadSample(
        "missing intrinsics", f"{folder} has neither {' nor '.join(str(p.relative_to(folder)) for p in paths)}"
    )


def _by_stem(folder: Path) -> Mapping[str, Path]:
    return {path.stem: path for path in folder.iterdir()} if folder.is_dir() else {}


def _each_has(folder: Path, pictures: list[Path], files: Mapping[str, Path], what: str) -> None:
    """Raises BadSample where a picture lacks its file; files without a picture are frames that were not exported."""
    lacking = [picture.stem for picture in pictures if picture.stem not in files]
    if lacking:
        counts = f"color holds {len(pictures)} pictures and {what} {len(files)} files"
        raise BadSample(f"missing {what}", f"{folder}: {counts}; {len(lacking)} lack theirs, first {lacking[0]!r}")


def _number(path: Path) -> tuple[int, str]:
    return (int(path.stem) if path.stem.isdigit() else -1, path.stem)
