"""Every reader of scenes says in one line what is broken."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from interleave_plugins.scenes.readers.open_scene import open_scene
from interleave_plugins.scenes.synthetic.render import SyntheticScene, make_scene
from interleave_plugins.scenes.synthetic.write import write_colmap, write_nerf, write_nuscenes, write_scannet
from PIL import Image

import interleave as il

Writer = Callable[[SyntheticScene, Path], object]
"""Writes a scene into a new folder. Returns what ``open_scene`` is given."""


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    return make_scene(3, views=6)


def lossless(scene: SyntheticScene, folder: Path) -> Path:
    return write_scannet(scene, folder, suffix=".png")


def _scannet(change: Callable[[Path], object]) -> Writer:
    """A ScanNet folder that ``change`` has broken."""

    def make(scene: SyntheticScene, folder: Path) -> Path:
        change(lossless(scene, folder))
        return folder

    return make


def _nerf(*, frame: Mapping[str, object] | None = None, **changes: object) -> Writer:
    """A ``transforms.json`` with other values. frame: of its first frame. None takes a key of the file away."""

    def make(scene: SyntheticScene, folder: Path) -> Path:
        path = write_nerf(scene, folder)
        content = json.loads(path.read_text())
        content["frames"][0].update(frame or {})
        content.update(changes)
        content = {key: value for key, value in content.items() if value is not None}
        path.write_text(json.dumps(content))
        return path

    return make


def _colmap(name: str, text: str) -> Writer:
    """A COLMAP model one of whose files holds ``text``."""

    def make(scene: SyntheticScene, folder: Path) -> Path:
        (write_colmap(scene, folder) / "sparse" / "0" / name).write_text(text)
        return folder

    return make


def _nuscenes(table: str, change: Callable[[list[dict[str, object]]], object], **record: object) -> Writer:
    """A nuScenes release one of whose tables ``change`` has broken. record: other values in what names the moment."""

    def make(scene: SyntheticScene, folder: Path) -> Mapping[str, object]:
        moment = {**write_nuscenes(scene, folder), **record}
        path = folder / "v1.0-mini" / f"{table}.json"
        rows = json.loads(path.read_text())
        change(rows)
        path.write_text(json.dumps(rows))
        return moment

    return make


def _file(content: str, name: str = "scene.json") -> Writer:
    """A file that holds ``content``, instead of a scene."""

    def make(scene: SyntheticScene, folder: Path) -> Path:
        folder.mkdir()
        (folder / name).write_text(content)
        return folder / name

    return make


FLAT = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
MIRROR = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]
BAD: list[tuple[Writer, str, str]] = [
    (
        _scannet(lambda f: (f / "pose/2.txt").unlink()),
        "missing pose",
        "6 pictures and pose 5 files; 1 lack theirs, first '2'",
    ),
    (_scannet(lambda f: (f / "pose").rename(f / "poses")), "missing pose", "6 pictures and pose 0 files"),
    (_scannet(lambda f: (f / "depth/5.png").unlink()), "missing depth", "6 pictures and depth 5 files"),
    (_scannet(lambda f: (f / "pose/1.txt").write_text("1 2 3")), "broken matrix", r"1\.txt holds 3 numbers; a 4 x 4"),
    (_scannet(lambda f: (f / "pose/1.txt").write_text("one")), "broken matrix", r"1\.txt holds no matrix"),
    (_scannet(lambda f: np.savetxt(f / "pose/1.txt", FLAT)), "singular rotation", r"scene/1\.png.*determinant is 0"),
    (_scannet(lambda f: np.savetxt(f / "pose/1.txt", MIRROR)), "singular rotation", "determinant is -1"),
    (
        _scannet(lambda f: [p.write_text("inf " * 16) for p in (f / "pose").iterdir()]),
        "no poses",
        "none of the 6 poses",
    ),
    (_scannet(lambda f: (f / "intrinsic/intrinsic_color.txt").unlink()), "missing intrinsics", "has neither"),
    (
        _scannet(lambda f: np.savetxt(f / "intrinsic/intrinsic_color.txt", np.zeros((4, 4)))),
        "broken intrinsics",
        "lengths 0",
    ),
    (_nerf(frame={"transform_matrix": [[1, 2], [3, 4]]}), "broken matrix", "frame 0 is 2 x 2; it must be 4 x 4"),
    (_nerf(frame={"transform_matrix": [[1, 2], [3]]}), "broken matrix", "no matrix of numbers"),
    (_nerf(frame={"transform_matrix": FLAT}), "singular rotation", r"transforms\.json frame 0"),
    (_nerf(frame={"file_path": "images/nothing"}), "missing file", "with or without a suffix"),
    (_nerf(frame={"file_path": "../../secret.png"}), "path outside scene", "leads out of the scene folder"),
    (_nerf(frame={"file_path": "/etc/picture.png"}), "path outside scene", "leads out of the scene folder"),
    (_nerf(camera_model="OPENCV_FISHEYE"), "camera model", "OPENCV_FISHEYE camera; undistort"),
    (_nerf(fl_x=None, fl_y=None), "missing intrinsics", "neither fl_x nor camera_angle_x"),
    (_nerf(fl_x="wide"), "broken intrinsics", "fl_x of transforms.json frame 0 is 'wide'; it must be a number"),
    (_nerf(frames=[]), "no frames", "has no list of frames"),
    (_nerf(frames=[{}]), "broken frame", "frame 0 needs file_path and transform_matrix"),
    (_colmap("cameras.txt", "hello world\n"), "broken scene", "is no COLMAP model"),
    (_colmap("images.txt", "1 1 0 0 0 0 0 0 77 000.png\n\n"), "broken scene", "is no COLMAP model"),
    (_colmap("images.txt", "1 1 0 0 0 0 0 0 1 gone.png\n\n"), "missing file", r"has gone\.png"),
    (_colmap("images.txt", "# none\n"), "no poses", "has 0 pictures"),
    (
        _colmap("cameras.txt", "".join(f"{i} OPENCV_FISHEYE 96 72 9 9 9 9 0 0 0 0\n" for i in range(1, 7))),
        "camera model",
        "FISHEYE",
    ),
    (_nuscenes("ego_pose", lambda rows: rows.clear()), "broken record", r"ego_pose\.json has no row 'car'"),
    (
        _nuscenes("ego_pose", lambda rows: rows[0].update(rotation=[0, 0, 0, 0])),
        "singular rotation",
        "length must be 1",
    ),
    (
        _nuscenes("calibrated_sensor", lambda rows: rows[0].pop("translation")),
        "broken record",
        "CAM_FRONT lacks 'translation'",
    ),
    (
        _nuscenes("calibrated_sensor", lambda rows: rows[0].update(camera_intrinsic=[])),
        "broken matrix",
        "camera_intrinsic of CAM_FRONT",
    ),
    (_nuscenes("sensor", len, sample="never"), "unknown sample", "none of 12 rows of sample_data"),
    (_nuscenes("sensor", len, version="v1.0-other"), "missing file", r"has no sample_data\.json"),
    (lambda s, f: write_nuscenes(s, f)["path"], "no sample", "name a moment by"),
    (_file("{}"), "unknown scene", "a scene with nothing in it is not known"),
    (_file('{"path": "scene.json"}'), "unknown scene", "a scene with path is not known; it needs frames"),
    (_file('{"cameras": {}}'), "no cameras", "has no cameras"),
    (_file("[1]"), "broken scene", "holds a list; a scene is an object"),
    (_file("{"), "broken scene", "is not JSON"),
    (_file("{}", "scene.xyz"), "unknown scene", "is no scene that is known"),
    (lambda s, f: f / "nowhere", "missing file", "nowhere does not exist"),
    (lambda s, f: 3, "unknown media", "is neither a file, a folder nor a list"),
    (_nerf(camera_angle_x=0, fl_x=None, fl_y=None), "broken intrinsics", "focal lengths 0 and 0"),
]


@pytest.mark.parametrize(("make", "reason", "message"), BAD, ids=[f"{i}: {b[1]}" for i, b in enumerate(BAD)])
def test_broken_scenes_say_why_in_one_line(
    make: Writer, reason: str, message: str, scene: SyntheticScene, tmp_path: Path
) -> None:
    data = make(scene, tmp_path / "scene")
    with pytest.raises(il.BadSample, match=message) as bad:
        open_scene(data)
    assert bad.value.reason == reason
    assert "\n" not in str(bad.value)


@pytest.mark.parametrize(("name", "content"), [("5.png", "no picture"), ("5.png", None), ("5.npy", None)])
def test_broken_depth_says_so_when_it_is_read(
    name: str, content: str | None, scene: SyntheticScene, tmp_path: Path
) -> None:
    folder = lossless(scene, tmp_path / "scene")
    if content:
        (folder / "depth" / name).write_text(content)
    elif name.endswith("png"):
        Image.new("RGB", (4, 4)).save(folder / "depth" / name)
    else:
        (folder / "depth" / "5.png").rename(folder / "depth" / name)
    with pytest.raises(il.BadSample) as bad:
        [view.depth_in_metres() for view in open_scene(folder)] if content or name.endswith("png") else _lose(folder)
    assert bad.value.reason in ("broken depth", "missing file")


def _lose(folder: Path) -> None:
    views = open_scene(folder)
    (folder / "depth" / "5.npy").unlink()
    _ = [view.depth_in_metres() for view in views]


def test_without_pycolmap_one_line_says_what_to_install(
    scene: SyntheticScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_colmap(scene, tmp_path / "scene")
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(il.InputError, match=r"pip install interleave\[colmap\]"):
        open_scene(folder)
