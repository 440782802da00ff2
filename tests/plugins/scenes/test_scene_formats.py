"""Every reader of scenes gives back the cameras, pictures and depth that were written, and says what is broken."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interleave_plugins.scenes.readers.open_scene import open_scene
from interleave_plugins.scenes.synthetic.render import SyntheticScene, make_scene
from interleave_plugins.scenes.synthetic.write import cameras, write_colmap, write_nerf, write_nuscenes, write_scannet
from interleave_plugins.scenes.view import View
from PIL import Image

import interleave as il


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    return make_scene(3, views=6)


def lossless(scene: SyntheticScene, folder: Path) -> Path:
    return write_scannet(scene, folder, suffix=".png")


def released(scene: SyntheticScene, folder: Path) -> Path:
    return write_scannet(scene, folder, released=True, suffix=".png")


def nerf_folder(scene: SyntheticScene, folder: Path) -> Path:
    return write_nerf(scene, folder).parent


def binary(scene: SyntheticScene, folder: Path) -> Path:
    """The text model once more, as COLMAP itself writes it."""
    import pycolmap

    model = write_colmap(scene, folder) / "sparse" / "0"
    reconstruction = pycolmap.Reconstruction(str(model))
    for path in model.glob("*.txt"):
        path.unlink()
    reconstruction.write_binary(str(model))
    return model


def plain_record(scene: SyntheticScene, folder: Path) -> Path:
    """What the tables say of a moment, put together in one file."""
    views = open_scene(write_nuscenes(scene, folder))
    tables = {n: json.loads((folder / f"v1.0-mini/{n}.json").read_text()) for n in ("calibrated_sensor", "ego_pose")}
    rows = {row["sensor_token"]: row for row in tables["calibrated_sensor"]}
    told = {
        view.name: {
            "filename": str(Path(view.picture).relative_to(folder)),
            "calibrated_sensor": rows[view.name],
            "ego_pose": tables["ego_pose"][0],
        }
        for view in reversed(views)
    }
    path = folder / "moment.json"
    path.write_text(json.dumps({"cameras": told}))
    return path


WRITERS: Mapping[str, Callable[[SyntheticScene, Path], Any]] = {
    "scannet": lossless,
    "scannet_frames_25k": released,
    "nerf": write_nerf,
    "nerf folder": nerf_folder,
    "colmap": write_colmap,
    "colmap binary": binary,
    "nuscenes": write_nuscenes,
    "nuscenes record": plain_record,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_was_written_is_read(writer: str, scene: SyntheticScene, tmp_path: Path) -> None:
    views = open_scene(WRITERS[writer](scene, tmp_path / "scene"))
    assert len(views) == len(scene.views)
    for view, truth, camera in zip(views, scene.views, cameras(scene), strict=True):
        assert view.camera is not None
        np.testing.assert_allclose(view.camera.pose, camera.pose, atol=1e-6)
        np.testing.assert_allclose(view.camera.intrinsics, camera.intrinsics, atol=1e-6)
        assert (view.camera.width, view.camera.height) == (camera.width, camera.height)
        assert np.array_equal(np.asarray(il.load_image(view.picture)), truth.picture)
        if view.depth is not None:
            np.testing.assert_allclose(view.metres(), truth.depth, atol=5.1e-4)
    assert all((view.depth is None) == (writer.split()[0] in ("colmap", "nuscenes")) for view in views)


def test_frames_without_a_pose_are_left_out_and_numbers_count(scene: SyntheticScene, tmp_path: Path) -> None:
    many = make_scene(0, views=12, size=(16, 12))
    folder = write_scannet(many, tmp_path / "many")
    (folder / "pose" / "4.txt").write_text("-inf " * 16)
    assert [view.name for view in open_scene(folder)] == [str(i) for i in range(12) if i != 4]
    (folder / "pose" / "99.txt").write_text("-inf " * 16)  # of a frame that was not exported
    assert len(open_scene(folder)) == 11


def test_depth_of_another_size_and_lens(scene: SyntheticScene, tmp_path: Path) -> None:
    """Depth keeps its own intrinsics: its pixels lie where the truth has them, whatever the picture's size."""
    small = make_scene(3, views=1, size=(48, 36))
    folder = write_scannet(make_scene(3, views=1, size=(96, 72)), tmp_path / "scene")
    depth = np.asarray(small.views[0].depth)
    Image.fromarray((depth * 1000).round().astype(np.uint16)).save(folder / "depth" / "0.png")
    lens = cameras(small)[0].intrinsics - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    np.savetxt(folder / "intrinsic" / "intrinsic_depth.txt", lens)
    (view,) = open_scene(folder)
    camera = view.depth_camera(48, 36)
    assert camera is not None
    np.testing.assert_allclose(camera.intrinsics, cameras(small)[0].intrinsics, atol=1e-6)
    np.testing.assert_allclose(view.metres(), depth, atol=5.1e-4)


def test_nerfs_synthetic_form(scene: SyntheticScene, tmp_path: Path) -> None:
    """An angle instead of focal lengths, names without suffix, and a frame that has its own lens."""
    path = write_nerf(scene, tmp_path / "scene")
    told = json.loads(path.read_text())
    frames = [{**f, "file_path": "./" + f["file_path"].removesuffix(".png")} for f in told["frames"]]
    frames[1]["fl_x"], frames[1]["cx"] = 99.0, 40.0
    path.rename(path.with_name("transforms_train.json")).write_text(
        json.dumps({"camera_angle_x": 1.05, "frames": frames})
    )
    views = open_scene(path.parent)
    assert views[0].camera is not None
    assert views[1].camera is not None
    np.testing.assert_allclose(views[0].camera.intrinsics, cameras(scene)[0].intrinsics, atol=1e-9)
    assert views[1].camera.intrinsics[0].tolist() == [99, 0, 40]


def test_pictures_alone_have_no_cameras(tmp_path: Path) -> None:
    for i in range(3):
        Image.new("RGB", (8, 6), (i, 0, 0)).save(tmp_path / f"{i}.png")
    assert [(v.name, v.camera) for v in open_scene(tmp_path)] == [("0", None), ("1", None), ("2", None)]
    listed = open_scene([tmp_path / "2.png", np.zeros((2, 2, 3), np.uint8)])
    assert [v.name for v in listed] == ["2", "1"]
    given = [View(np.zeros((2, 2, 3), np.uint8), name="mine")]
    assert open_scene(given) == given
    assert len(open_scene({"path": tmp_path})) == 3


def _scannet(change: Callable[[Path], object]) -> Callable[[SyntheticScene, Path], Any]:
    def make(scene: SyntheticScene, folder: Path) -> Path:
        change(lossless(scene, folder))
        return folder

    return make


def _nerf(**changes: Any) -> Callable[[SyntheticScene, Path], Any]:
    """``frame``: changes of the first frame; others are of the file. None takes a key away."""

    def make(scene: SyntheticScene, folder: Path) -> Path:
        path = write_nerf(scene, folder)
        told = json.loads(path.read_text())
        told["frames"][0].update(changes.get("frame", {}))
        told.update({key: value for key, value in changes.items() if key != "frame"})
        told = {key: value for key, value in told.items() if value is not None}
        path.write_text(json.dumps(told))
        return path

    return make


def _colmap(name: str, text: str) -> Callable[[SyntheticScene, Path], Any]:
    def make(scene: SyntheticScene, folder: Path) -> Path:
        (write_colmap(scene, folder) / "sparse" / "0" / name).write_text(text)
        return folder

    return make


def _nuscenes(table: str, change: Callable[[list[dict[str, Any]]], object], **record: Any) -> Any:
    def make(scene: SyntheticScene, folder: Path) -> Any:
        told = {**write_nuscenes(scene, folder), **record}
        path = folder / "v1.0-mini" / f"{table}.json"
        rows = json.loads(path.read_text())
        change(rows)
        path.write_text(json.dumps(rows))
        return told

    return make


def _as(content: str, name: str = "scene.json") -> Callable[[SyntheticScene, Path], Any]:
    def make(scene: SyntheticScene, folder: Path) -> Path:
        folder.mkdir()
        (folder / name).write_text(content)
        return folder / name

    return make


FLAT = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
MIRROR = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]
BAD: list[tuple[Any, str, str]] = [
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
    (_as("{}"), "unknown scene", "a scene with nothing in it is not known"),
    (_as('{"path": "scene.json"}'), "unknown scene", "a scene with path is not known; it needs frames"),
    (_as('{"cameras": {}}'), "no cameras", "has no cameras"),
    (_as("[1]"), "broken scene", "holds a list; a scene is an object"),
    (_as("{"), "broken scene", "is not JSON"),
    (_as("{}", "scene.xyz"), "unknown scene", "is no scene that is known"),
    (lambda s, f: f / "nowhere", "missing file", "nowhere does not exist"),
    (lambda s, f: 3, "unknown media", "is neither a file, a folder nor a list"),
    (_nerf(camera_angle_x=0, fl_x=None, fl_y=None), "broken intrinsics", "focal lengths 0 and 0"),
]


@pytest.mark.parametrize(("make", "reason", "message"), BAD, ids=[f"{i}: {b[1]}" for i, b in enumerate(BAD)])
def test_broken_scenes_say_why_in_one_line(
    make: Callable[[SyntheticScene, Path], Any], reason: str, message: str, scene: SyntheticScene, tmp_path: Path
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
        [view.metres() for view in open_scene(folder)] if content or name.endswith("png") else _lose(folder)
    assert bad.value.reason in ("broken depth", "missing file")


def _lose(folder: Path) -> None:
    views = open_scene(folder)
    (folder / "depth" / "5.npy").unlink()
    _ = [view.metres() for view in views]


def test_without_pycolmap_one_line_says_what_to_install(
    scene: SyntheticScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_colmap(scene, tmp_path / "scene")
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(il.InputError, match=r"pip install interleave\[colmap\]"):
        open_scene(folder)
