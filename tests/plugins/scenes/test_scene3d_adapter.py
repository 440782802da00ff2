"""The modality ``scene3d``: from a scene's files to pixels, layout and features."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from interleave_plugins.modality.scene3d import Scene3D
from interleave_plugins.scenes.synthetic.render import make_scene
from interleave_plugins.scenes.synthetic.write import cameras_of, write_nerf, write_scannet
from interleave_plugins.scenes.text_coordinates import read_points, to_frame
from small_models import rendered, small_config

import interleave as il
from interleave.model.assembly import assemble
from interleave.processing.collate import one_per_row


def adapter(**options: object) -> Scene3D:
    """The modality for views of 16 pixels in 4 x 4 patches."""
    return il.modalities.build({"name": "scene3d", **options}, vision=il.VisionSpec(16, 4), llm_dim=8)


def test_pictures_alone_are_shown_as_ever() -> None:
    pictures = list(np.random.default_rng(0).integers(0, 255, (23, 20, 30, 3), dtype=np.uint8))
    visual = adapter(max_views=6).prepare(pictures)
    plain = adapter(max_views=6)
    expected = plain.views([plain.picture(pictures[i]) for i in np.linspace(0, 22, 6).astype(int)])
    assert torch.equal(visual.pixel_values, expected)
    assert (list(visual.layout), visual.meta) == ([16] * 6, {})


@pytest.mark.parametrize("views", ["uniform", "farthest", "coverage"])
def test_fewer_views_are_some_of_the_views(views: str, tmp_path: Path) -> None:
    folder = write_scannet(make_scene(0), tmp_path / "scene")
    whole = adapter(max_views=5, view_selection=views, titles="world")
    few = whole.fewer(2)
    names = [piece for piece in whole.prepare(folder).layout if isinstance(piece, str)]
    fewer = [piece for piece in few.prepare(folder).layout if isinstance(piece, str)]
    assert (len(names), len(fewer), whole.max_views) == (5, 2, 5)
    assert set(fewer) <= set(names) or views == "uniform"
    assert len(few.fewer(9).prepare(folder).pixel_values) == 2


def test_titles_say_where_cameras_are(tmp_path: Path) -> None:
    scene = make_scene(0, views=3)
    path = write_nerf(scene, tmp_path / "scene")
    for frame in ("world", "first"):
        layout = adapter(titles=frame).prepare(path).layout
        written = np.concatenate([read_points(piece) for piece in layout if isinstance(piece, str)])
        truth = to_frame(np.stack([c.centre for c in cameras_of(scene)]), cameras_of(scene)[0], frame)
        np.testing.assert_allclose(written, truth, atol=0.0051)
    assert list(adapter(titles="first").prepare(adapter().example()).layout) == [16] * 3


@pytest.mark.parametrize("poses", ["pointmap", "rays"])
def test_an_untrained_encoding_changes_nothing_and_a_trained_one_follows_the_cameras(
    poses: str, tmp_path: Path
) -> None:
    scene = make_scene(0, views=4)
    folder = write_scannet(scene, tmp_path / "scene")
    posed = adapter(poses=poses, stride=2)
    visual = posed.prepare(folder)
    json.dumps(visual.described())
    features = torch.randn(4, 16, 8)
    assert torch.equal(posed.merge(features, visual.meta), adapter(stride=2).merge(features, {}))
    torch.nn.init.normal_(posed.encoding.leave.weight)
    out = posed.merge(features, visual.meta)
    other = posed.merge(features, posed.prepare(write_scannet(make_scene(9, views=4), tmp_path / "other")).meta)
    assert not torch.allclose(out, posed.merge(features, posed.prepare(posed.example()).meta), atol=1e-3)
    assert not torch.allclose(out, other, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"far": 0}, "far is 0.0"),
        ({"view_selection": "random"}, r"modality.scene3d.view_selection is 'random'"),
        ({"titles": True}, "titles"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(il.InputError, match=message):
        adapter(**options)
    with pytest.raises(il.InputError, match="poses=rays needs llm_dim"):
        il.modalities.build({"name": "scene3d", "poses": "rays"}, vision=il.VisionSpec(16, 4))


def test_a_record_with_a_scene_trains(tmp_path: Path) -> None:
    """From a LLaVA record that names a scene's folder to a gradient on the weights of its poses."""
    write_scannet(make_scene(0), tmp_path / "rooms" / "a")
    node = {"name": "scene3d", "max_views": 3, "view_selection": "coverage", "poses": "pointmap", "titles": "first"}
    assembly = assemble(small_config(modality={"scene3d": node}))
    turns = [{"from": "human", "value": "<image>\nWhere is the box?"}, {"from": "gpt", "value": "<0.50, 0.10, 2.25>"}]
    sample = il.sample_from_llava({"scene": "rooms/a", "conversations": turns}, tmp_path)
    examples = rendered(assembly, [sample])
    model = assembly.model
    torch.nn.init.normal_(model.modality["scene3d"].encoding.leave.weight)
    loss, _ = model.loss(one_per_row(examples, assembly.vision))
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.modality["scene3d"].encoding.enter.parameters())


def test_a_question_about_scenes_needs_no_placeholder(tmp_path: Path) -> None:
    asked = {"question": "Which is larger?", "choices": ["a", "b"], "answer": "B", "scene": ["rooms/a", {"path": "b"}]}
    (tmp_path / "asked.json").write_text(json.dumps([asked]))
    node = {"name": "multiple_choice", "path": str(tmp_path / "asked.json"), "media": str(tmp_path)}
    (turn,) = il.tasks.build(node).sample(asked).messages
    assert [part.kind for part in turn.content if isinstance(part, il.Media)] == ["scene3d"] * 2
