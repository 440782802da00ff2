"""Vision encoders: the hidden states of Transformers and timm, from their own files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import small_config
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from transformers.models.siglip2.image_processing_siglip2 import convert_image_to_patches

import interleave as il
from interleave import testing

SIZES: dict[str, Any] = {"patch_size": 14, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2}
SQUARE = {**SIZES, "image_size": 42}
MLP = {"intermediate_size": 32}
TOWERS: dict[str, tuple[str, Any, int]] = {  # a name here, Transformers' model, tokens before its patches
    "siglip": ("siglip", lambda: SiglipVisionModel(SiglipVisionConfig(**SQUARE, **MLP)), 0),
    "siglip2 fixed": ("siglip2", lambda: SiglipVisionModel(SiglipVisionConfig(**SQUARE, **MLP)), 0),
    "siglip2 naflex": ("siglip2", lambda: Siglip2VisionModel(Siglip2VisionConfig(**SIZES, **MLP, num_patches=9)), 0),
    "clip": ("clip", lambda: CLIPVisionModel(CLIPVisionConfig(**SQUARE, **MLP)), 1),
    "dinov2": ("dinov2", lambda: Dinov2Model(Dinov2Config(**SQUARE)), 1),
    "registers": ("dinov2", lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SQUARE)), 5),
}


def saved(tower: str, folder: Path) -> tuple[str, Any, int]:
    torch.manual_seed(0)
    name, make, special = TOWERS[tower]
    theirs = make().eval()
    theirs.save_pretrained(folder)
    return name, theirs, special


def hidden_states(theirs: Any, pixels: torch.Tensor, **options: Any) -> Any:
    if isinstance(theirs, Siglip2VisionModel):
        patches = torch.stack([convert_image_to_patches(p, 14) for p in pixels])
        shape = torch.tensor([[pixels.shape[-1] // 14] * 2] * len(pixels))
        seen = {"pixel_values": patches, "pixel_attention_mask": torch.ones(patches.shape[:2]), "spatial_shapes": shape}
        return theirs(**seen, output_hidden_states=True).hidden_states
    return theirs(pixels, output_hidden_states=True, **options).hidden_states


def build(name: str, **options: Any) -> Any:
    return il.vision_encoders.build({"name": name, **options}).eval()


@pytest.mark.parametrize("tower", TOWERS)
@torch.no_grad()
def test_features_are_the_hidden_states_of_transformers(tower: str, tmp_path: Path) -> None:
    name, theirs, special = saved(tower, tmp_path)
    pixels = torch.randn(2, 3, 42, 42)
    expected = hidden_states(theirs, pixels)
    for layer in (-1, -2, -4):
        ours = build(name, path=str(tmp_path), select_layer=layer)
        assert len(ours.blocks()) == 5 + layer
        torch.testing.assert_close(ours(pixels), expected[layer][:, special:], rtol=1e-5, atol=1e-5)
    assert (ours.spec.size, ours.spec.grid, ours.spec.tokens) == (42, 3, 9)
    assert (expected[-1] - expected[-2]).abs().max() > 1e-2, "layers do something"


@pytest.mark.parametrize("tower", ["clip", "dinov2", "registers"])
@torch.no_grad()
def test_the_class_token_can_stand_in_front(tower: str, tmp_path: Path) -> None:
    name, theirs, special = saved(tower, tmp_path)
    pixels = torch.randn(2, 3, 42, 42)
    ours = build(name, path=str(tmp_path), feature="cls_patch")
    expected = hidden_states(theirs, pixels)[-2]
    torch.testing.assert_close(
        ours(pixels), torch.cat([expected[:, :1], expected[:, special:]], 1), rtol=1e-5, atol=1e-5
    )
    assert (ours.spec.prefix, ours.spec.tokens) == (1, 10)


@pytest.mark.parametrize("projector", ["mlp", "linear", "resampler"])
def test_a_model_learns_with_a_class_token(projector: str) -> None:
    node = {"name": "clip", "config": {**SQUARE, **MLP}, "feature": "cls_patch"}
    more = {"queries": 4, "heads": 2} if projector == "resampler" else {}
    parts = small_config(projector={"name": projector, **more}, modality={"image": {"name": "image"}})
    testing.check("vision_encoder", node, parts)


@pytest.mark.parametrize("tower", TOWERS)
@torch.no_grad()
def test_another_size_interpolates_positions_as_transformers_does(tower: str, tmp_path: Path) -> None:
    name, theirs, special = saved(tower, tmp_path)
    pixels = torch.randn(2, 3, 70, 70)
    options = {} if "dinov2" in name or tower == "siglip2 naflex" else {"interpolate_pos_encoding": True}
    ours = build(name, path=str(tmp_path), size=70)
    assert (ours.spec.size, ours.spec.grid) == (70, 5)
    expected = hidden_states(theirs, pixels, **options)[-2][:, special:]
    torch.testing.assert_close(ours(pixels), expected, rtol=1e-5, atol=1e-5)
    same = build(name, path=str(tmp_path)).state_dict()
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in same.items()}


def test_tensors_keep_the_names_of_transformers() -> None:
    names = set(build("siglip", config={**SQUARE, **MLP}).state_dict())
    assert {"embeddings.patch_embedding.weight", "layers.0.self_attn.k_proj.weight", "layers.2.mlp.fc2.bias"} <= names
    assert not any(name.startswith(("layers.3", "post_layernorm", "head")) for name in names)
    names = set(build("clip", config={**SQUARE, **MLP}).state_dict())
    assert {"embeddings.class_embedding", "pre_layrnorm.weight", "layers.0.layer_norm1.weight"} <= names


def test_files_in_half_precision_are_loaded_in_full(tmp_path: Path) -> None:
    TOWERS["siglip"][1]().to(torch.bfloat16).save_pretrained(tmp_path)
    assert {p.dtype for p in build("siglip", path=str(tmp_path)).parameters()} == {torch.float32}


def test_colours_are_those_of_the_family() -> None:
    clip, siglip = CLIPImageProcessor(), SiglipImageProcessor()
    for name, processor in (("clip", clip), ("siglip", siglip)):
        spec = build(name, config={**SQUARE, **MLP}).spec
        assert (list(spec.mean), list(spec.std)) == (list(processor.image_mean), list(processor.image_std))
    assert build("dinov2", config=SQUARE).spec.mean == (0.485, 0.456, 0.406)
    assert build("dinov2", config=SQUARE).spec.std == (0.229, 0.224, 0.225)


def test_files_that_lack_a_tensor_are_refused(tmp_path: Path) -> None:
    saved("siglip", tmp_path)
    path = tmp_path / "model.safetensors"
    state = {k: v for k, v in load_file(path).items() if "layers.1.mlp.fc1" not in k}
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(il.InputError, match=r"lacks encoder\.layers\.1\.mlp\.fc1\.bias and 1 more"):
        build("siglip", path=str(tmp_path))
    path.write_bytes(b"no tensors")
    with pytest.raises(il.InputError, match="cannot be loaded"):
        build("siglip", path=str(tmp_path))


def test_what_a_user_can_mend_is_one_line(tmp_path: Path) -> None:
    saved("clip", tmp_path)
    for node, message in [
        ({"name": "siglip", "path": str(tmp_path)}, "holds a model of type 'clip_vision_model'; this vision_encoder"),
        ({"name": "siglip", "path": "/not/here"}, "path /not/here does not exist"),
        ({"name": "siglip", "config": {"hiden_size": 8}}, "no option 'hiden_size'; did you mean 'hidden_size'?"),
        ({"name": "clip", "config": {**SQUARE, "hidden_size": 25}}, "config does not describe a CLIPVisionModel"),
        ({"name": "clip", "path": str(tmp_path), "select_layer": 0}, "from -1 to -4 with 4 layers"),
        ({"name": "clip", "path": str(tmp_path), "select_layer": -5}, "select_layer is -5"),
        ({"name": "clip", "path": str(tmp_path), "feature": "cls"}, "input should be 'patch' or 'cls_patch'"),
        ({"name": "clip", "path": str(tmp_path), "size": 7}, "size is 7, less than one patch of 14 pixels"),
        ({"name": "timm", "model": "vit_tinny_patch16_224"}, "cannot make vit_tinny_patch16_224: Unknown model"),
        ({"name": "timm", "model": "vit_tiny_patch16_224", "select_layer": -13}, "from -1 to -12"),
    ]:
        with pytest.raises(il.InputError) as error:
            il.vision_encoders.build(node)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def timm_state(siglip: Any) -> dict[str, torch.Tensor]:
    """SigLIP's tensors under the names of timm."""
    theirs = siglip.state_dict()
    state = {
        "patch_embed.proj.weight": theirs["embeddings.patch_embedding.weight"],
        "patch_embed.proj.bias": theirs["embeddings.patch_embedding.bias"],
        "pos_embed": theirs["embeddings.position_embedding.weight"][None],
    }
    for n in range(siglip.config.num_hidden_layers):
        layer = f"encoder.layers.{n}."
        for kind in ("weight", "bias"):
            heads = [theirs[f"{layer}self_attn.{x}_proj.{kind}"] for x in "qkv"]
            state[f"blocks.{n}.attn.qkv.{kind}"] = torch.cat(heads)
            for ours, name in {"norm1": "layer_norm1", "norm2": "layer_norm2", "attn.proj": "self_attn.out_proj",
                               "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}.items():  # fmt: skip
                state[f"blocks.{n}.{ours}.{kind}"] = theirs[f"{layer}{name}.{kind}"]
    return state


@torch.no_grad()
def test_so400m_through_timm_is_siglip_through_transformers() -> None:
    torch.manual_seed(0)
    sizes = {**SIZES, "image_size": 56, "hidden_size": 1152 // 16, "intermediate_size": 4304 // 16}
    theirs = SiglipVisionModel(SiglipVisionConfig(**sizes)).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # large, so that one GELU can be told from another
    options = {"depth": 4, "embed_dim": 1152 // 16, "num_heads": 2}
    node = {"model": "vit_so400m_patch14_siglip_384", "size": 56, "options": options}
    pixels = torch.randn(2, 3, 56, 56)
    expected = theirs(pixels, output_hidden_states=True).hidden_states
    for layer in (-1, -2):
        ours = build("timm", **node, select_layer=layer)
        ours.model.load_state_dict({k: v for k, v in timm_state(theirs).items() if k in ours.model.state_dict()})
        torch.testing.assert_close(ours(pixels), expected[layer], rtol=1e-4, atol=1e-4)
        assert len(ours.blocks()) == 5 + layer
    other = build("timm", **{**node, "options": {**options, "act_layer": "gelu"}}, select_layer=-1)
    other.model.load_state_dict(timm_state(theirs))
    assert (other(pixels) - expected[-1]).abs().max() > 5e-4


def test_timm_gives_an_earlier_stage_of_a_convolutional_net() -> None:
    node = {"name": "timm", "model": "convnext_atto", "size": 64, "select_layer": -2}
    ours = il.vision_encoders.build(node)
    assert (ours.spec.grid, ours.dim) == (4, 160)
    assert ours(torch.randn(2, 3, 64, 64)).shape == (2, 16, 160)
    testing.check("vision_encoder", node, small_config())


@torch.no_grad()
def test_timm_maps_with_colours_last_run_row_by_row() -> None:
    torch.manual_seed(0)
    ours = build("timm", model="swin_tiny_patch4_window7_224")
    pixels = torch.randn(1, 3, 224, 224)
    raw = ours.model.forward_features(pixels)
    assert raw.shape == (1, 7, 7, 768)
    torch.testing.assert_close(ours(pixels)[0, 8], raw[0, 1, 1])
    assert len(ours.blocks()) == 4
