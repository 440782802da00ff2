"""Synthetic scenes are exact, views are chosen as promised, and coordinates survive text."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from interleave_plugins.scenes.synthetic.render import FLOOR, look_at, make_scene
from interleave_plugins.scenes.synthetic.write import cameras_of
from interleave_plugins.scenes.text_coordinates import (
    from_frame,
    read_boxes,
    read_points,
    to_frame,
    write_box,
    write_point,
)
from interleave_plugins.scenes.view import Camera, Matrix, View
from interleave_plugins.scenes.view_selection import CANDIDATES, Selection, select

import interleave as il

Point = tuple[float, float, float]
LENS = np.array([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]])


def camera_at(position: Point, target: Point) -> Camera:
    """A camera that looks at ``target``; both in the world."""
    return Camera(look_at(np.array(position, float), np.array(target, float)), LENS, 64, 48)


def points_of(view: View) -> Matrix:
    """(H, W, 3) the points of the world that a view shows, by formulas of this test and not by the package's code."""
    camera, depth = view.camera, np.asarray(view.depth)
    assert camera is not None
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics
    rows, cols = np.indices(depth.shape)
    local = np.stack([(cols + 0.5 - cx) / fx * depth, (rows + 0.5 - cy) / fy * depth, depth], -1)
    points: Matrix = local @ camera.pose[:3, :3].T + camera.pose[:3, 3]
    return points


def test_pixels_lie_on_what_they_show() -> None:
    scene = make_scene(1)
    for view, shown in zip(scene.views, scene.shown, strict=True):
        points = points_of(view)
        assert np.abs(points[shown == FLOOR][:, 2]).max() < 1e-9
        for number, thing in enumerate(scene.things):
            on = points[shown == number]
            assert ((on > thing.low - 1e-9) & (on < thing.high + 1e-9)).all()
            assert (np.minimum(np.abs(on - thing.low), np.abs(on - thing.high)).min(-1) < 1e-9).all()
        assert ((np.asarray(view.depth) == 0) == (shown < FLOOR)).all()


def test_a_point_of_one_view_has_its_colour_in_another() -> None:
    scene = make_scene(1, size=(192, 144))
    met = 0
    for view, shown in zip(scene.views, scene.shown, strict=True):
        points, seen = points_of(view)[shown >= 0], shown[shown >= 0]
        for other, camera, there in zip(scene.views, cameras_of(scene), scene.shown, strict=True):
            local = (points - camera.centre) @ camera.pose[:3, :3]
            pixels = local @ camera.intrinsics.T
            x, y = np.floor(pixels[:, :2] / pixels[:, 2:]).astype(int).T
            inside = (local[:, 2] > 0) & (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
            depth = np.asarray(other.depth)[y[inside], x[inside]]
            visible = np.abs(depth - local[inside, 2]) < 0.02
            same = there[y[inside], x[inside]][visible] == seen[inside][visible]
            assert same.mean() > 0.98 if len(same) else True  # the rest are pixels cut by an edge
            met += len(same)
    assert met > 100_000


def test_scenes_are_the_same_again_and_boxes_stand_apart() -> None:
    one, two, three = make_scene(4), make_scene(4), make_scene(5)
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(one.views, two.views, strict=True))
    assert not np.array_equal(one.views[0].picture, three.views[0].picture)
    for i, a in enumerate(one.things):
        assert a.low[2] == 0
        for b in one.things[:i]:
            assert ((a.low >= b.high) | (b.low >= a.high)).any()


def still_then_round() -> list[View]:
    """A camera that stands for nine pictures and then walks around the middle in six."""
    angles = [*[0.0] * 9, *np.linspace(0, 2 * np.pi, 7)[1:]]
    views = []
    for number, angle in enumerate(angles):
        camera = camera_at((4 * np.cos(angle), 4 * np.sin(angle), 1), (0, 0, 0))
        views.append(View(None, camera, name=str(number)))
    return views


def test_farthest_views_are_far_apart() -> None:
    views = still_then_round()
    chosen = select(views, 4, "farthest")
    assert chosen == sorted(chosen)
    assert chosen[0] == 0
    assert len(set(chosen) & set(range(9))) == 1
    centres = [views[i].camera.centre for i in chosen]
    apart = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(centres, 2)]
    assert min(apart) > 3.9  # a sixth of the way around
    assert set(select(views, 3, "farthest")) < set(chosen)
    assert select(views, 99, "farthest") == list(range(15))


def test_directions_count_where_places_do_not() -> None:
    """A camera that turns where it stands."""
    views = [View(None, camera_at((0, 0, 1), (np.cos(a), np.sin(a), 1))) for a in (0, 0.1, 0.2, np.pi, 3.2)]
    assert select(views, 2, "farthest") == [0, 3]


def test_coverage_looks_where_nobody_looked() -> None:
    same = [View(None, camera_at((0, 0, 1), (1, 0, 1))) for _ in range(8)]
    views = [*same, View(None, camera_at((0, 0, 1), (-1, 0, 1)))]
    assert select(views, 2, "coverage", far=3) == [0, 8]
    assert select(views, 5, "coverage", far=3) == [0, 8]  # the others would show nothing new
    assert select(same, 5, "coverage") == [0]


def test_coverage_sees_as_far_as_the_depth() -> None:
    """The second of three views stands before a wall; beyond it there is nothing to count."""
    far, near = np.full((12, 16), 6.0), np.full((12, 16), 0.5)
    looks = [((0, 0, 1), (1, 0, 1)), ((0, 9, 1), (1, 9, 1)), ((0, -9, 1), (1, -9, 1))]
    views = [View(None, camera_at(*look), depth) for look, depth in zip(looks, (far, near, far), strict=True)]
    assert select(views, 2, "coverage") == [0, 2]
    assert select(views, 3, "coverage") == [0, 1, 2]


def test_coverage_covers_more_than_even_steps() -> None:
    from interleave_plugins.scenes.view_selection import _sampled_depth, _seen_voxels

    scene = make_scene(2, views=24)
    views = [*[scene.views[0]] * 24, *scene.views]

    def covered(chosen: list[int]) -> int:
        seen = [_seen_voxels(views[i].camera, _sampled_depth(views[i]), 0.25) for i in chosen]
        return len(np.unique(np.concatenate(seen), axis=0))

    counts = {by: covered(select(views, 4, by)) for by in ("uniform", "farthest", "coverage")}
    assert counts["coverage"] > 1.2 * counts["uniform"]
    assert counts["coverage"] >= counts["farthest"]


def test_long_scenes_are_thinned_before_their_depth_is_read(tmp_path: Path) -> None:
    views = [View(None, camera_at((i / 50, 0, 1), (i / 50, 1, 1))) for i in range(5 * CANDIDATES)]
    chosen = select(views, 6, "coverage")
    assert set(chosen) <= set(il.uniform(len(views), CANDIDATES))
    assert len(chosen) == 6


@pytest.mark.parametrize("by", ["farthest", "coverage"])
def test_choosing_by_cameras_needs_cameras(by: Selection) -> None:
    views = [*still_then_round()[:2], View(None)]
    with pytest.raises(il.BadSample, match=f"1 of 3 views have no camera, and view_selection={by}") as bad:
        select(views, 2, by)
    assert bad.value.reason == "no cameras"
    assert select(views, 2, "uniform") == [0, 2]


def test_coordinates_survive_text() -> None:
    assert write_point([1.2, -0.354, 2]) == "<1.20, -0.35, 2.00>"
    assert write_point([-0.001, 0, 12.5], 1) == "<0.0, 0.0, 12.5>"
    text = f"From {write_point([1, 2, 3])} to {write_point([-1, 0.5, 0])}, past <image> and 3 < 4."
    np.testing.assert_allclose(read_points(text), [[1, 2, 3], [-1, 0.5, 0]])
    middles, sizes = read_boxes(f"a {write_box([1, 2, 3], [0.5, 0.25, 1])}")
    assert (middles.tolist(), sizes.tolist()) == ([[1, 2, 3]], [[0.5, 0.25, 1]])
    assert read_points("nothing").shape == (0, 3)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_points, "<1, 2>", "<1, 2> has 2 numbers; a point has 3"),
        (read_points, "<1, 2, x3>", "<1, 2, x3> is not a point: 3 numbers"),
        (read_points, "<1, 2, 1e999>", "a point has 3, all finite"),
        (read_boxes, "<1, 2, 3>", "<1, 2, 3> has 3 numbers; a box has 6"),
        (read_boxes, "<1, 2, 3, 1, 1, -2>", "has the size -2"),
        (lambda t: write_point([1, 2]), "", "3 finite numbers are needed"),
        (lambda t: write_point([1, 2, np.nan]), "", "3 finite numbers are needed"),
    ],
)
def test_text_that_is_no_coordinate_says_why(read: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(il.InputError, match=message):
        read(text)


def test_the_first_views_axes() -> None:
    """x to the right, y down, z ahead; and back."""
    camera = camera_at((4, 0, 1), (0, 0, 1))
    points = np.array([[0.0, 0, 1], [4, 1, 1], [4, 0, 3]])
    np.testing.assert_allclose(to_frame(points, camera, "first"), [[0, 0, 4], [1, 0, 0], [0, -2, 0]], atol=1e-12)
    np.testing.assert_allclose(from_frame(to_frame(points, camera, "first"), camera, "first"), points, atol=1e-12)
    assert to_frame(points, camera, "world") is points
