"""Meshes and point clouds as views: depth and colours against shapes whose form is known."""

import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import trimesh
from interleave_plugins.scenes.patch_rays import back_project
from interleave_plugins.scenes.readers.meshes import MESHES, render_views
from interleave_plugins.scenes.view import View
from numpy.typing import NDArray
from PIL import Image

import interleave as il

COUNT = 4


def points(view: View) -> NDArray[np.float64]:
    assert view.camera
    found: NDArray[np.float64] = back_project(view.depth, view.camera)[view.depth > 0]
    return found


def shown(view: View) -> NDArray[np.uint8]:
    """Colours of the pixels that show the object."""
    found: NDArray[np.uint8] = np.asarray(view.picture)[view.depth > 0]
    return found


def box(path: Path, **colours: NDArray[np.int64]) -> Path:
    made = trimesh.creation.box((2.0, 4.0, 6.0), trimesh.transformations.translation_matrix((10, 20, 30)))
    for name, values in colours.items():
        setattr(made.visual, name, values)
    made.export(path)
    return path


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
def test_depth_is_that_of_the_surface(suffix: str, tmp_path: Path) -> None:
    """Back-projected, all pixels lie on the faces of a box, and every one of its sides is seen."""
    views = render_views(box(tmp_path / f"box{suffix}"), COUNT, size=64)
    found = np.concatenate([points(v) for v in views]) - (10, 20, 30)
    assert [v.name for v in views] == ["000", "001", "002", "003"]
    half = np.array([1, 2, 3.0])
    assert np.abs(np.abs(found) - half).min(1).max() < 1e-6
    assert (np.abs(found) < half + 1e-6).all()
    for axis in range(3):
        upper = {".ply": 2}.get(suffix, 1) == axis
        assert (found[:, axis] > half[axis] - 1e-6).any()
        assert (found[:, axis] < -half[axis] + 1e-6).any() != upper, "cameras stand above, along the axis that is up"


def test_every_view_shows_all_of_a_ball(tmp_path: Path) -> None:
    trimesh.creation.icosphere(subdivisions=4, radius=0.01).export(tmp_path / "ball.ply")
    for view in render_views(tmp_path / "ball.ply", COUNT, size=64):
        seen = view.depth > 0
        assert not (seen[0] | seen[-1] | seen[:, 0] | seen[:, -1]).any()
        assert seen.sum() == pytest.approx(np.pi * (64 / 2 / 1.05) ** 2, rel=0.05)
        np.testing.assert_allclose(np.linalg.norm(points(view), axis=1), 0.01, rtol=0.01)


def test_cameras_stand_evenly_around_and_look_at_the_middle(tmp_path: Path) -> None:
    views = render_views(box(tmp_path / "box.ply"), 3)
    cameras = [view.camera for view in views if view.camera]
    away = np.stack([c.centre for c in cameras]) - (10, 20, 30)
    assert np.linalg.norm(away, axis=1) == pytest.approx(np.linalg.norm(away[0]))
    np.testing.assert_allclose(away.sum(0)[:2], 0, atol=1e-9)
    for camera, one in zip(cameras, away, strict=True):
        np.testing.assert_allclose(camera.direction, -one / np.linalg.norm(one), atol=1e-9)
    assert views[0].picture.shape == (384, 384, 3)
    assert views[0].picture.dtype == np.uint8


def test_faces_have_their_colours_and_light_only_scales_them(tmp_path: Path) -> None:
    colours = np.tile([200, 100, 50, 255], (12, 1))
    for view in render_views(box(tmp_path / "box.ply", face_colors=colours), COUNT, size=32):
        share = shown(view) / [200, 100, 50]
        assert np.ptp(share, axis=1).max() < 0.02
        assert share.min() > 0.43
        assert share.max() <= 1.01


def test_colours_of_vertices_blend_between_them(tmp_path: Path) -> None:
    made = trimesh.creation.icosphere(subdivisions=4)
    made.visual.vertex_colors = ((made.vertices + 1) / 2 * 255).round().astype(np.uint8)
    made.export(tmp_path / "ball.ply")
    for view in render_views(tmp_path / "ball.ply", COUNT, size=64):
        expected = (points(view) + 1) / 2 * 255
        facing = shown(view).sum(1) / expected.sum(1)
        np.testing.assert_allclose(shown(view), expected * facing[:, None], atol=3)


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_textures_are_looked_up_at_every_pixel(suffix: str, tmp_path: Path) -> None:
    """One quad with a picture of four colours: each of them fills its quarter, which colours of corners could not."""
    image = Image.fromarray(
        np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8).repeat(8, 0).repeat(8, 1)
    )
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    quad = trimesh.Trimesh([[-1, 0, 1], [1, 0, 1], [1, 0, -1], [-1, 0, -1]], [[0, 1, 2], [0, 2, 3]], process=False)
    quad.visual = trimesh.visual.TextureVisuals(uv, material=trimesh.visual.material.SimpleMaterial(image=image))
    trimesh.Scene(quad).export(tmp_path / f"quad{suffix}")
    view = render_views(tmp_path / f"quad{suffix}", 1, size=64)[0]
    x, _, z = points(view).T
    pure = shown(view) > 60
    for right, front, colour in ((0, 0, (1, 0, 0)), (1, 0, (0, 1, 0)), (0, 1, (0, 0, 1)), (1, 1, (1, 1, 0))):
        mine = ((x > 0.05) == right) & ((z > 0.05) == front) & (np.abs(x) > 0.2) & (np.abs(z) > 0.2)
        assert mine.any()
        assert (pure[mine] == np.array(colour, bool)).all()


def test_parts_of_a_scene_stand_where_it_puts_them_and_hide_each_other(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.4)
    ball.visual.face_colors = [255, 0, 0, 255]
    wall = trimesh.creation.box((3, 3, 0.1))
    wall.visual.face_colors = [0, 0, 255, 255]
    scene = trimesh.Scene([wall])
    scene.add_geometry(ball, transform=trimesh.transformations.translation_matrix((0, 0, 2)))
    scene.export(tmp_path / "two.glb")
    views = render_views(tmp_path / "two.glb", 8, size=64)
    red = [int((shown(v)[:, 0] > shown(v)[:, 2]).sum()) for v in views]
    assert max(red) > 30
    assert min(red) < max(red) / 4, "the wall hides the ball from behind"
    front = views[int(np.argmax(red))]
    mine = points(front)[shown(front)[:, 0] > shown(front)[:, 2]]
    np.testing.assert_allclose(np.linalg.norm(mine - (0, 0, 2), axis=1), 0.4, atol=0.02)


def test_points_are_drawn_where_there_are_no_faces(tmp_path: Path) -> None:
    """A dense ball of points hides its other side, and depth is that of a point."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(6000, 3))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    colours = np.tile([30, 160, 90, 255], (len(places), 1)).astype(np.uint8)
    trimesh.PointCloud(places, colors=colours).export(tmp_path / "ball.ply")
    for view in render_views(tmp_path / "ball.ply", COUNT, size=48):
        assert view.camera
        assert (shown(view) == [30, 160, 90]).all()
        away = np.linalg.norm(view.camera.centre)
        own = ((places - view.camera.centre) @ view.camera.pose[:3, :3])[:, 2]
        assert np.abs(own[:, None] - view.depth[view.depth > 0]).min(0).max() < 1e-6  # the file has single precision
        middle = view.depth[18:30, 18:30]
        assert ((middle > 0) & (middle < away)).mean() > 0.93, "hardly a hole through which the far side shines"


def test_a_cloud_without_colours_is_grey(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "plain.obj", np.random.default_rng(0).normal(size=(50, 3)), fmt="v %.6f %.6f %.6f")
    view = render_views(tmp_path / "plain.obj", 1, size=32)[0]
    assert (shown(view) == 180).all()


@pytest.mark.parametrize(
    ("name", "content", "reason", "message"),
    [
        ("a.ply", b"ply\nformat ascii 1.0\nend_header\n", "empty mesh", "holds neither faces nor points"),
        ("a.obj", b"", "(empty|broken) mesh", "a.obj"),
        ("a.obj", b"v 0 0 0\n", "empty mesh", "is a single point"),
        ("a.ply", b"no ply at all", "broken mesh", "a.ply cannot be read"),
        ("a.glb", b"glTF\x02\x00\x00\x00 and nothing more", "broken mesh", "a.glb cannot be read"),
        ("a.obj", b"v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n", "broken mesh", "vertices that are not finite"),
        ("a.stl", b"solid", "unknown scene", "its ending must be .ply, .glb, .obj"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(
    name: str, content: bytes, reason: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(il.BadSample, match=message) as caught:
        render_views(tmp_path / name, 2, size=16)
    assert re.fullmatch(reason, caught.value.reason)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", sorted(MESHES))
def test_a_file_that_was_cut_off_is_a_bad_sample_or_a_mesh(suffix: str, tmp_path: Path) -> None:
    """Whatever the cut, nothing but BadSample comes out."""
    whole = box(tmp_path / f"box{suffix}").read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 23)):
        (tmp_path / f"cut{suffix}").write_bytes(whole[:length])
        with suppress(il.BadSample):
            assert len(render_views(tmp_path / f"cut{suffix}", 1, size=8)) == 1


def test_a_missing_file_and_a_missing_extra_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(il.BadSample, match=r"none\.glb does not exist"):
        render_views(tmp_path / "none.glb", 1)
    monkeypatch.setitem(sys.modules, "trimesh.ray.ray_pyembree", None)
    with pytest.raises(il.InputError, match=r"needs trimesh and embreex .*pip install 'interleave\[meshes\]'"):
        render_views(box(tmp_path / "box.ply"), 1)


def test_no_display_is_needed(tmp_path: Path) -> None:
    """In a process whose environment names no display at all."""
    code = (
        "from interleave_plugins.scenes.readers.meshes import render_views; import sys;"
        "print(sum(int((v.depth > 0).sum()) for v in render_views(sys.argv[1], 2, size=16)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(box(tmp_path / "box.glb"))],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 50
