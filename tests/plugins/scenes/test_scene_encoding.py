"""Rays, point maps and what they add to features, against scenes whose geometry is known exactly."""

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from interleave_plugins.scenes.cameras import pinhole
from interleave_plugins.scenes.patch_rays import (
    Fit,
    back_project,
    lens,
    patch_depth,
    patch_rays,
    places,
    pluecker,
    ray_matrix,
    relative,
    to_square,
)
from interleave_plugins.scenes.pose_encoding import PoseEncoding, Poses
from interleave_plugins.scenes.synthetic.render import SyntheticScene, draw, make_scene
from interleave_plugins.scenes.view import Camera, View
from numpy.typing import NDArray

from interleave import BadSample, VisionSpec

VISION = VisionSpec(size=32, grid=8)
KINDS: tuple[Poses, ...] = ("rays", "pointmap")


def camera(width: int = 8, height: int = 4, focal: float = 4.0) -> Camera:
    return Camera(np.eye(4), pinhole(focal, focal, width / 2, height / 2), width, height)


def moved(place: tuple[float, float, float], angle: float = 0.0) -> NDArray[np.float64]:
    """Turned about y, then put there."""
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    pose[:3, 3] = place
    return pose


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    return make_scene(3, views=4)


def test_a_wide_picture_lies_in_the_middle_of_a_padded_view() -> None:
    corners = np.array([[0, 0, 1], [8, 4, 1.0]])
    np.testing.assert_allclose(corners @ to_square(8, 4, "square").T, [[0, 0, 1], [1, 1, 1]])
    np.testing.assert_allclose(corners @ to_square(8, 4, "pad").T, [[0, 0.25, 1], [1, 0.75, 1]])
    np.testing.assert_allclose(corners[:1] @ to_square(3, 8, "pad").T, [[2 / 8, 0, 1]])  # (8 - 3) // 2 pixels


def test_patches_lie_as_encoders_cut_them() -> None:
    """SigLIP's 384 pixels hold 27 patches of 14; six pixels belong to none."""
    middles = places(VisionSpec(384, 27))[:, 0]
    np.testing.assert_allclose(middles[0], [7 / 384, 7 / 384, 1])
    np.testing.assert_allclose(middles[-1], [371 / 384, 371 / 384, 1])
    np.testing.assert_allclose(middles[1], [21 / 384, 7 / 384, 1])
    within = places(VisionSpec(4, 1), samples=2)
    np.testing.assert_allclose(within[0, :, :2], [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])


def test_the_ray_through_a_corner_is_what_a_pinhole_says() -> None:
    wide = camera(8, 4, focal=4)
    np.testing.assert_allclose(lens(wide, "square") @ [0, 0, 1], [-1, -0.5, 1])
    np.testing.assert_allclose(lens(wide, "square") @ [0.5, 0.5, 1], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(lens(wide, "pad") @ [0, 0, 1], [-1, -1, 1])
    with pytest.raises(BadSample, match="focal lengths 0 and 0 are no camera's"):
        lens(camera(focal=0), "square")


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
    np.testing.assert_allclose(relative(pose, pose), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(pose @ relative(other, pose), other, atol=1e-12)


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
        numbers = np.full((24, 24), -2)
        numbers[top : top + size[1], left : left + size[0]] = shown
        assert ((depth > 0) == (numbers.ravel() != -2)).all()
        np.testing.assert_allclose(points[numbers.ravel() == -1][:, 2], 0, atol=1e-9)
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
        np.testing.assert_allclose(points[shown == -1][:, 2], 0, atol=1e-9)
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


def encoding(kind: Poses, vision: VisionSpec = VISION, trained: bool = False, dim: int = 12) -> PoseEncoding:
    torch.manual_seed(0)
    made = PoseEncoding(kind, vision, dim)
    if trained:
        torch.nn.init.normal_(made.leave.weight)
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_untrained_encoding_changes_nothing(kind: Poses, dtype: torch.dtype, scene: SyntheticScene) -> None:
    made = encoding(kind).to(dtype)
    features = torch.randn(4, 64, 12, dtype=dtype)
    out = made(features, made.describe(scene.views, "square"))
    assert out.dtype == dtype
    assert torch.equal(out, features)
    assert not torch.equal(encoding(kind, trained=True)(features.float(), made.describe(scene.views, "square")), out)


def test_none_owns_nothing_and_says_nothing(scene: SyntheticScene) -> None:
    made = PoseEncoding("none", VISION, 12)
    features = torch.randn(4, 64, 12)
    assert not list(made.parameters())
    assert made.describe(scene.views, "square") == {}
    assert made(features, {}) is features


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_before_the_patches_get_nothing(kind: Poses, scene: SyntheticScene) -> None:
    made = encoding(kind, replace(VISION, prefix=2), trained=True)
    features = torch.zeros(4, 66, 12)
    out = made(features, made.describe(scene.views, "pad"))
    assert not out[:, :2].any()
    assert out[:, 2:].any(-1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_says_the_same_wherever_its_world_begins(kind: Poses, scene: SyntheticScene) -> None:
    """Equal as JSON, so that caches know it again; and in other units only the unit differs."""
    made, shift = encoding(kind), moved((5, -2, 9), 1.1)
    described = made.describe(scene.views, "square")
    assert json.loads(json.dumps(described)) == described
    elsewhere = [replace(v, camera=replace(v.camera, pose=shift @ v.camera.pose)) for v in scene.views if v.camera]
    assert made.describe(elsewhere, "square") == described
    feet = []
    for view in scene.views:
        assert view.camera
        pose = view.camera.pose.copy()
        pose[:3, 3] *= 3
        feet.append(replace(view, camera=replace(view.camera, pose=pose), depth=view.depth * 3))
    other = made.describe(feet, "square")
    assert other.pop("unit") == pytest.approx(3 * described["unit"], rel=1e-5)
    assert other == {k: v for k, v in described.items() if k != "unit"}


def test_a_point_has_the_same_embedding_in_every_view() -> None:
    """Two cameras look at one point from two sides: its place is the same, and so is its depth for the unit."""
    vision = VisionSpec(size=3, grid=3)
    one = Camera(np.eye(4), pinhole(3, 3, 1.5, 1.5), 3, 3)
    other = replace(one, pose=moved((2, 0, 2), -np.pi / 2))  # from the right, at the point (0, 0, 2)
    views = [View(None, c, np.full((3, 3), 2.0)) for c in (one, other)]
    made = encoding("pointmap", vision, trained=True)
    out = made(torch.zeros(2, 9, 12), made.describe(views, "square"))
    torch.testing.assert_close(out[0, 4], out[1, 4], atol=1e-4, rtol=0)
    assert (out[0, 0] - out[1, 0]).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_views_without_cameras_get_nothing_and_weights_their_gradient(kind: Poses, scene: SyntheticScene) -> None:
    made = encoding(kind, trained=True)
    features = torch.randn(4, 64, 12)
    bare = [View(v.picture) for v in scene.views]
    out = made(features, made.describe(bare, "square"))
    assert torch.equal(out, features)
    out.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in made.parameters())
    some = [bare[0], *scene.views[1:]]
    changed = (made(features, made.describe(some, "square")) != features).any(-1).any(-1)
    assert changed.tolist() == [False, True, True, True]


def test_patches_without_depth_share_an_embedding_that_learns(scene: SyntheticScene) -> None:
    made = encoding("pointmap", trained=True)
    views = [replace(v, depth=None) for v in scene.views]
    out = made(torch.zeros(4, 64, 12), made.describe(views, "square"))
    assert out.flatten(0, 1).unique(dim=0).shape[0] == 1
    assert out.any()
    out.sum().backward()
    assert made.unknown.grad is not None
    assert made.unknown.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_geometry_keeps_float32_in_half_precision(kind: Poses, scene: SyntheticScene) -> None:
    """A millimetre in a kilometre of unit would be lost in bf16, and so would neighbouring patches."""
    made, seen = encoding(kind), []
    described = made.describe(scene.views, "square")
    original = made._coordinates

    def watched(*given: Any) -> Any:
        seen.append(original(*given)[0])
        return original(*given)

    made._coordinates = watched  # type: ignore[method-assign]
    made(torch.zeros(4, 64, 12), described)
    with torch.autocast("cpu", torch.bfloat16):
        made(torch.zeros(4, 64, 12), described)
    torch.set_default_dtype(torch.bfloat16)  # as Lightning does for bf16-true
    try:
        made(torch.zeros(4, 64, 12), described)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(other, seen[0]) for other in seen[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_without_weights_describes(kind: Poses, scene: SyntheticScene) -> None:
    made = encoding(kind)
    light = copy.deepcopy(made).to("meta")
    assert light.describe(scene.views, "pad") == made.describe(scene.views, "pad")


def test_cameras_at_one_place_have_a_unit() -> None:
    made = encoding("rays")
    assert made.describe([View(None, camera()), View(None, camera())], "square")["unit"] == 1.0
    assert np.isfinite(made(torch.zeros(1, 64, 12), made.describe([View(None, camera())], "square")).detach()).all()


def test_a_pose_that_is_none_is_a_bad_sample() -> None:
    flat = replace(camera(), pose=np.zeros((4, 4)))
    with pytest.raises(BadSample, match="the pose of view 'left' is no rotation"):
        encoding("rays").describe([View(None, camera()), View(None, flat, name="left")], "square")


def test_a_redrawn_view_is_the_same_camera(scene: SyntheticScene) -> None:
    """Padding before rendering or after it comes to the same rays."""
    view = scene.views[0]
    assert view.camera
    lower = np.array([[0, 0, 0], [0, 0, 12], [0, 0, 0]])
    square = replace(view.camera, intrinsics=view.camera.intrinsics + lower, height=96)
    drawn, _ = draw(scene.things, square, scene.floor)
    np.testing.assert_array_equal(np.asarray(drawn.picture)[12:84], view.picture)
    np.testing.assert_allclose(ray_matrix(view.camera, "pad"), ray_matrix(square, "square"), atol=1e-12)
