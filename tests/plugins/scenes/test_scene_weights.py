"""Weights of pose encodings: trained, saved, loaded, begun anew, and refused by layouts without a place for them."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interleave_plugins.scenes.pose_encoding import Poses
from interleave_plugins.scenes.synthetic.render import make_scene
from published import llava, onevision, original
from safetensors.torch import load_file
from small_models import rendered, small_config, talk

import interleave as il
from interleave import testing
from interleave.cli import main
from interleave.core.types import Batch
from interleave.export.convert import convert
from interleave.model.assembly import Assembly, assemble
from interleave.processing.collate import collate
from interleave.training.optimizer import PARTS, Stage, optimizer, parts

KINDS: tuple[Poses, ...] = ("rays", "pointmap")


def posed_config(kind: Poses, **options: Any) -> dict[str, Any]:
    config = small_config()
    config["modality"]["scene3d"] = {"name": "scene3d", "poses": kind, **options}
    return config


def posed(kind: Poses, **options: Any) -> Assembly:
    torch.manual_seed(0)
    return assemble(posed_config(kind, **options))


def scene() -> il.Media:
    return il.Media("scene3d", make_scene(1, views=3, size=(24, 18)).views)


def batch(assembly: Assembly, *shown: il.Media) -> Batch:
    examples = rendered(assembly, [talk("where ", media) for media in shown] or [talk("nothing to see")])
    return collate([examples], sum(len(e.input_ids) for e in examples), assembly.vision)


def weights(assembly: Assembly) -> dict[str, torch.nn.Parameter]:
    return dict(assembly.model.modality.named_parameters())


def step(assembly: Assembly, *shown: il.Media) -> None:
    """So large that everything that has a gradient moves, last layer first."""
    adamw = optimizer(assembly.model, Stage(dict.fromkeys(PARTS, 0.05)))
    for _ in range(2):
        assembly.model.zero_grad()
        torch.autograd.backward(assembly.model.loss(batch(assembly, *shown))[0])
        adamw.step()


@pytest.mark.parametrize("kind", KINDS)
def test_a_pose_aware_scene_keeps_the_contract(kind: Poses) -> None:
    testing.check("modality", {"name": "scene3d", "poses": kind}, small_config())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"stride": 2, "pool": "bilinear"}, {"newline": "grid", "fit": "pad"}])
def test_untrained_poses_change_nothing_and_trained_ones_something(kind: Poses, options: dict[str, Any]) -> None:
    with_poses, without = posed(kind, **options), posed("none", **options)
    without.model.load_state_dict(with_poses.model.state_dict(), strict=False)
    one, other = batch(with_poses, scene()), batch(without, scene())
    assert torch.equal(one.input_ids, other.input_ids)
    assert torch.equal(with_poses.model(one), without.model(other))
    step(with_poses, scene())
    without.model.load_state_dict(with_poses.model.state_dict(), strict=False)
    assert not torch.equal(with_poses.model(one), without.model(other))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_a_batch_does_not_use_get_a_gradient_of_zeros(kind: Poses) -> None:
    """DDP and FSDP reduce the gradients of all parameters on all ranks, whatever each of them has seen."""
    assembly = posed(kind)
    picture = il.Media("image", np.zeros((20, 20, 3), np.uint8))
    plain = il.Media("scene3d", [np.zeros((20, 20, 3), np.uint8)])
    for shown in ((), (picture,), (plain,)):
        assembly.model.zero_grad()
        torch.autograd.backward(assembly.model.loss(batch(assembly, *shown))[0])
        assert all(p.grad is not None and not p.grad.any() for p in weights(assembly).values())
    torch.autograd.backward(assembly.model.loss(batch(assembly, scene()))[0])
    assert weights(assembly)["scene3d.encoding.leave.weight"].grad.any()  # type: ignore[union-attr]


def test_idle_weights_leave_the_features_in_their_precision() -> None:
    assembly = posed("rays")
    assembly.model.vision_encoder.to(torch.bfloat16)
    assembly.model.projector.to(torch.bfloat16)
    assembly.model.mean, assembly.model.std = assembly.model.mean.bfloat16(), assembly.model.std.bfloat16()
    assert assembly.model.features(batch(assembly, scene())).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns_in_the_part_of_the_modalities(kind: Poses) -> None:
    assembly = posed(kind)
    assert {n.removeprefix("modality.") for n in parts(assembly.model)["modality"]} == weights(assembly).keys()
    before = {name: p.detach().clone() for name, p in weights(assembly).items()}
    views = make_scene(1, views=3, size=(24, 18)).views
    for view in views[:1]:
        view.depth[:6] = 0  # type: ignore[index]
    step(assembly, il.Media("scene3d", views))
    assert not [name for name, p in weights(assembly).items() if torch.equal(p, before[name])]
    groups = optimizer(assembly.model, Stage({"modality": 1e-3, "llm": 1e-5})).param_groups
    assert {g["name"]: g["lr"] for g in groups}["modality/matrices"] == 1e-3
    frozen = Stage({"llm": 1e-5})
    assert not frozen.rate("modality")


@pytest.mark.parametrize("kind", KINDS)
def test_weights_lie_in_native_folders_and_come_back(kind: Poses, tmp_path: Path) -> None:
    assembly = posed(kind)
    step(assembly, scene())
    il.LM(assembly, posed_config(kind)).save(tmp_path / "run")
    assert {n for n in load_file(tmp_path / "run/model.safetensors") if n.startswith("modality.scene3d.encoding.")}
    lm = il.load(tmp_path / "run")
    again = dict(lm.model.modality.named_parameters())
    assert all(torch.equal(p, again[name]) for name, p in weights(assembly).items())
    assembly.model.eval()
    with torch.no_grad():
        assert torch.equal(lm.model(batch(assembly, scene())), assembly.model(batch(assembly, scene())))
    assert convert(tmp_path / "run", tmp_path / "copy", "native") == 0


def test_poses_are_given_to_a_model_that_was_made_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its weights begin, with a word about it, and change nothing yet; other gaps stay errors."""
    source = original(tmp_path / "a")
    with caplog.at_level(logging.WARNING):
        lm = il.load(source, ["modality.scene3d.poses=rays"])
    assert f"{source} holds no weights of modality.scene3d: they begin anew" in caplog.text
    assert all(p.isfinite().all() for p in lm.model.parameters())
    begun = dict(lm.model.modality.named_parameters())
    assert begun["scene3d.encoding.enter.weight"].std() > 0.01
    assert not begun["scene3d.encoding.leave.weight"].any()
    plain = il.load(source)
    asked = il.Sample([il.Message("user", ["where? ", scene()])])
    with torch.no_grad():
        assert torch.equal(lm.model(lm.batch([asked], reply=True)), plain.model(plain.batch([asked], reply=True)))


def test_poses_can_be_left_aside_and_are_kept(tmp_path: Path) -> None:
    """Loaded without, nothing reads the weights; saved again, they are still there."""
    assembly = posed("rays")
    step(assembly, scene())
    il.LM(assembly, posed_config("rays")).save(tmp_path / "a")
    without = il.load(tmp_path / "a", ["modality.scene3d.poses=none"])
    assert not dict(without.model.modality.named_parameters())
    without.save(tmp_path / "b")
    back = dict(il.load(tmp_path / "b", ["modality.scene3d.poses=rays"]).model.modality.named_parameters())
    assert all(torch.equal(p, back[name]) for name, p in weights(assembly).items())
    with pytest.raises(
        il.InputError, match=r"holds modality\.scene3d\.encoding\.\S+ of shape .* where the config asks"
    ):
        il.load(tmp_path / "a", ["modality.scene3d.poses=pointmap"])


@pytest.mark.parametrize(("to", "write"), [("llava", llava), ("llava-onevision", onevision), ("original", original)])
@pytest.mark.parametrize("option", ["poses=rays", "titles=world"])
def test_published_layouts_refuse_what_a_scene_says_of_cameras(
    to: str, write: Any, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a")
    name = option.partition("=")[0]
    il.load(tmp_path / "a", [f"modality.scene3d.{option}"]).save(tmp_path / "b")
    reason = {"poses": r"it has no weights for scene3d\.poses=rays", "titles": "it writes no position before a view"}
    with pytest.raises(
        il.InputError, match=f"{to} cannot hold {name}: {reason[name]}; --drop {name} writes it without"
    ):
        convert(tmp_path / "b", tmp_path / "c", to)
    assert main(["convert", str(tmp_path / "b"), str(tmp_path / "c"), "--to", to, "--drop", name]) == 0
    assert "its logits equal the source's" in capsys.readouterr().out
    scene3d = il.load(tmp_path / "c").config["modality"]["scene3d"]
    assert scene3d.get(name, "none") == "none"
