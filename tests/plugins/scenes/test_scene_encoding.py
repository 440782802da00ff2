"""What pose encodings add to features, against scenes whose geometry is known exactly."""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from interleave_plugins.scenes.cameras import pinhole
from interleave_plugins.scenes.patch_rays import Fit
from interleave_plugins.scenes.pose_encoding import PatchCoordinates, PoseEncoding, Poses
from interleave_plugins.scenes.synthetic.render import SyntheticScene, make_scene
from interleave_plugins.scenes.view import Camera, View
from scene_geometry import camera, moved

from interleave import BadSample, VisionSpec, Visual

VISION = VisionSpec(size=32, grid=8)
KINDS: tuple[Poses, ...] = ("rays", "pointmap")


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    return make_scene(3, views=4)


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


def plain(made: PoseEncoding, views: Sequence[View], fit: Fit = "square") -> dict[str, Any]:
    """What the encoding says of the views, as caches see it."""
    _, _, described = Visual("scene3d", torch.zeros(0), [], made.describe(views, fit)).described()
    assert json.loads(json.dumps(described)) == [list(item) for item in described]
    return dict(described)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_says_the_same_wherever_its_world_begins(kind: Poses, scene: SyntheticScene) -> None:
    """Equal as JSON, so that caches recognise it; and in other units only the unit differs."""
    made, shift = encoding(kind), moved((5, -2, 9), 1.1)
    described = plain(made, scene.views)
    elsewhere = [replace(v, camera=replace(v.camera, pose=shift @ v.camera.pose)) for v in scene.views if v.camera]
    assert plain(made, elsewhere) == described
    feet = []
    for view in scene.views:
        assert view.camera
        pose = view.camera.pose.copy()
        pose[:3, 3] *= 3
        feet.append(replace(view, camera=replace(view.camera, pose=pose), depth=view.depth * 3))
    other = plain(made, feet)
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

    def watched(*arguments: object) -> PatchCoordinates:
        found = original(*arguments)
        seen.append(found.values)
        return found

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
    assert plain(light, scene.views, "pad") == plain(made, scene.views, "pad")


def test_cameras_at_one_place_have_a_unit() -> None:
    made = encoding("rays")
    assert made.describe([View(None, camera()), View(None, camera())], "square")["unit"] == 1.0
    assert np.isfinite(made(torch.zeros(1, 64, 12), made.describe([View(None, camera())], "square")).detach()).all()


def test_a_pose_that_is_none_is_a_bad_sample() -> None:
    flat = replace(camera(), pose=np.zeros((4, 4)))
    with pytest.raises(BadSample, match="the pose of view 'left' is no rotation"):
        encoding("rays").describe([View(None, camera()), View(None, flat, name="left")], "square")
