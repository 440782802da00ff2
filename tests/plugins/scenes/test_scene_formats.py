"""Every reader of scenes gives back the cameras, pictures and depth that were written."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from interleave_plugins.scenes.readers.open_scene import open_scene
from interleave_plugins.scenes.synthetic.render import SyntheticScene, make_scene
from interleave_plugins.scenes.synthetic.write import (
    cameras_of,
    write_colmap,
    write_nerf,
    write_nuscenes,
    write_scannet,
)
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
    record = {
        view.name: {
            "filename": str(Path(view.picture).relative_to(folder)),
            "calibrated_sensor": rows[view.name],
            "ego_pose": tables["ego_pose"][0],
        }
        for view in reversed(views)
    }
    path = folder / "moment.json"
    path.write_text(json.dumps({"cameras": record}))
    return path


WRITERS: Mapping[str, Callable[[SyntheticScene, Path], object]] = {
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
    for view, truth, camera in zip(views, scene.views, cameras_of(scene), strict=True):
        assert view.camera is not None
        np.testing.assert_allclose(view.camera.pose, camera.pose, atol=1e-6)
        np.testing.assert_allclose(view.camera.intrinsics, camera.intrinsics, atol=1e-6)
        assert (view.camera.width, view.camera.height) == (camera.width, camera.height)
        assert np.array_equal(np.asarray(il.load_image(view.picture)), truth.picture)
        if view.depth is not None:
            np.testing.assert_allclose(view.depth_in_metres(), truth.depth, atol=5.1e-4)
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
    lens = cameras_of(small)[0].intrinsics - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    np.savetxt(folder / "intrinsic" / "intrinsic_depth.txt", lens)
    (view,) = open_scene(folder)
    camera = view.depth_camera(48, 36)
    assert camera is not None
    np.testing.assert_allclose(camera.intrinsics, cameras_of(small)[0].intrinsics, atol=1e-6)
    np.testing.assert_allclose(view.depth_in_metres(), depth, atol=5.1e-4)


def test_nerfs_synthetic_form(scene: SyntheticScene, tmp_path: Path) -> None:
    """An angle instead of focal lengths, names without suffix, and a frame that has its own lens."""
    path = write_nerf(scene, tmp_path / "scene")
    frames = json.loads(path.read_text())["frames"]
    for frame in frames:
        frame["file_path"] = "./" + frame["file_path"].removesuffix(".png")
    frames[1]["fl_x"], frames[1]["cx"] = 99.0, 40.0
    path.rename(path.with_name("transforms_train.json")).write_text(
        json.dumps({"camera_angle_x": 1.05, "frames": frames})
    )
    views = open_scene(path.parent)
    assert views[0].camera is not None
    assert views[1].camera is not None
    np.testing.assert_allclose(views[0].camera.intrinsics, cameras_of(scene)[0].intrinsics, atol=1e-9)
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
