"""Rays and depth of patches, against scenes whose geometry is known exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from interleave_plugins.scenes.cameras import pinhole
from interleave_plugins.scenes.patch_rays import (
    Fit,
    back_project,
    patch_depth,
    patch_points,
    patch_rays,
    picture_to_square,
    pluecker,
    ray_matrix,
    relative_pose,
    unprojection,
)
from interleave_plugins.scenes.synthetic.render import FLOOR, NOTHING, SyntheticScene, draw, make_scene
from interleave_plugins.scenes.view import View
from scene_geometry import camera, moved

from interleave import BadSample, VisionSpec


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    return make_scene(3, views=4)


def test_a_wide_picture_lies_in_the_middle_of_a_padded_view() -> None:
    corners = np.array([[0, 0, 1], [8, 4, 1.0]])
    np.testing.assert_allclose(corners @ picture_to_square(8, 4, "square").T, [[0, 0, 1], [1, 1, 1]])
    np.testing.assert_allclose(corners @ picture_to_square(8, 4, "pad").T, [[0, 0.25, 1], [1, 0.75, 1]])
    np.testing.assert_allclose(corners[:1] @ picture_to_square(3, 8, "pad").T, [[2 / 8, 0, 1]])  # (8 - 3) // 2 pixels


def test_patches_lie_as_encoders_cut_them() -> None:
    """SigLIP's 384 pixels hold 27 patches of 14; six pixels belong to none."""
    middles = patch_points(VisionSpec(384, 27))[:, 0]
    np.testing.assert_allclose(middles[0], [7 / 384, 7 / 384, 1])
    np.testing.assert_allclose(middles[-1], [371 / 384, 371 / 384, 1])
    np.testing.assert_allclose(middles[1], [21 / 384, 7 / 384, 1])
    within = patch_points(VisionSpec(4, 1), samples=2)
    np.testing.assert_allclose(within[0, :, :2], [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])


def test_the_ray_through_a_corner_is_what_a_pinhole_says() -> None:
    wide = camera(8, 4, focal=4)
    np.testing.assert_allclose(unprojection(wide, "square") @ [0, 0, 1], [-1, -0.5, 1])
    np.testing.assert_allclose(unprojection(wide, "square") @ [0.5, 0.5, 1], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(unprojection(wide, "pad") @ [0, 0, 1], [-1, -1, 1])
    with pytest.raises(BadSample, match="focal lengths 0 and 0 are no camera's"):
        unprojection(camera(focal=0), "square")


def test_pluecker_coordinates_belong_to_the_line_and_not_to_the_point() -> None:
    origin, along = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, 2.0]])
    line = pluecker(origin, along)
    torch.testing.assert_close(line, torch.tensor([[0.0, 0, 1, 2, -1, 0]]))
    torch.testing.assert_close(pluecker(origin + 5 * along, along), line)
    direction, moment = line.split(3, -1)
    assert (direction * moment).sum() == 0
    assert not torch.allclose(pluecker(origin + torch.tensor([1.0, 0, 0]), along), line)


def test_a_pose_relative_to_itself_is_none() -> None:
    pose, other = moved((1, 2, 3), 0.4), moved((0, 0, 7), -1)
    np.testing.assert_allclose(relative_pose(pose, pose), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(pose @ relative_pose(other, pose), other, atol=1e-12)


@pytest.mark.parametrize(("fit", "size"), [("square", (24, 24)), ("pad", (24, 18)), ("pad", (18, 24))])
def test_rays_hit_what_the_synthetic_scene_shows(scene: SyntheticScene, fit: Fit, size: tuple[int, int]) -> None:
    """Rendered with one pixel for each patch, every patch's ray ends on the thing that its pixel shows."""
    vision = VisionSpec(size=96, grid=24)
    counts = np.zeros(len(scene.things))
    for view in scene.views:
        assert view.camera
        drawn, shown = draw(scene.things, view.camera.resized(*size), scene.floor)
        assert drawn.camera
        origins, ahead = patch_rays(torch.from_numpy(ray_matrix(drawn.camera, fit))[None], vision)
        depth = patch_depth(drawn, vision, fit)
        points = (origins + ahead * torch.from_numpy(depth)[None, :, None])[0].numpy()
        left, top = (24 - size[0]) // 2, (24 - size[1]) // 2
        numbers = np.full((24, 24), NOTHING)
        numbers[top : top + size[1], left : left + size[0]] = shown
        assert ((depth > 0) == (numbers.ravel() != NOTHING)).all()
        np.testing.assert_allclose(points[numbers.ravel() == FLOOR][:, 2], 0, atol=1e-9)
        for number, thing in enumerate(scene.things):
            mine = points[numbers.ravel() == number]
            faces = np.minimum(np.abs(mine - thing.low), np.abs(mine - thing.high)).min(1, initial=9)
            assert ((mine > thing.low - 1e-9) & (mine < thing.high + 1e-9)).all()
            assert (faces < 1e-9).all()
            counts[number] += len(mine)
    assert (counts > 0).all()


def test_back_projected_pixels_lie_on_the_things_that_they_show(scene: SyntheticScene) -> None:
    for view, shown in zip(scene.views, scene.shown, strict=True):
        assert view.camera
        points = back_project(view.depth, view.camera)
        np.testing.assert_allclose(points[shown == FLOOR][:, 2], 0, atol=1e-9)
        for number, thing in enumerate(scene.things):
            mine = points[shown == number]
            assert ((mine > thing.low - 1e-9) & (mine < thing.high + 1e-9)).all()
            on_a_face = np.minimum(np.abs(mine - thing.low), np.abs(mine - thing.high)).min(1, initial=9)
            assert (on_a_face < 1e-9).all()


def test_the_depth_of_a_patch_is_one_that_is_there() -> None:
    """Two surfaces in one patch: the median is one of them; holes do not count."""
    depth = np.zeros((4, 4))
    depth[:, 1:3], depth[:, 3] = 1.0, 5.0
    assert patch_depth(View(None, camera(4, 4), depth), VisionSpec(4, 1), "square") == [1.0]
    depth[:, :3] = 0
    assert patch_depth(View(None, camera(4, 4), depth), VisionSpec(4, 1), "square") == [5.0]
    assert patch_depth(View(None, camera(4, 4), np.zeros((4, 4))), VisionSpec(4, 1), "square") == [0.0]


def test_depth_of_another_size_or_lens_is_looked_up_where_it_lies() -> None:
    """Colour spans twice the field of the depth camera: the outer patches have none."""
    picture = camera(8, 8, focal=4)
    depth = np.arange(1.0, 17.0).reshape(4, 4)
    same = patch_depth(View(None, picture, depth), VisionSpec(16, 4), "square")
    np.testing.assert_array_equal(same, depth.ravel())
    narrow = View(None, picture, depth, depth_intrinsics=pinhole(4, 4, 2, 2))
    found = patch_depth(narrow, VisionSpec(16, 4), "square").reshape(4, 4)
    assert (found[[0, 3]] == 0).all()
    assert (found[:, [0, 3]] == 0).all()
    np.testing.assert_array_equal(found[1:3, 1:3] > 0, True)
    assert found[1, 1] in depth[:2, :2]


def test_a_redrawn_view_is_the_same_camera(scene: SyntheticScene) -> None:
    """Padding before rendering or after it comes to the same rays."""
    view = scene.views[0]
    assert view.camera
    lower = np.array([[0, 0, 0], [0, 0, 12], [0, 0, 0]])
    square = replace(view.camera, intrinsics=view.camera.intrinsics + lower, height=96)
    drawn, _ = draw(scene.things, square, scene.floor)
    np.testing.assert_array_equal(np.asarray(drawn.picture)[12:84], view.picture)
    np.testing.assert_allclose(ray_matrix(view.camera, "pad"), ray_matrix(square, "square"), atol=1e-12)
