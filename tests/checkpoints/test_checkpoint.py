"""Published layouts in: what Transformers computes, and one line for everything that is wrong with a folder."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from published import SIZE, TEXT, VISION, llava, llava_15, onevision, original, tokenizer, write
from safetensors.torch import load_file, save_file
from shown_samples import MULTI, TILES, VIDEO, as_transformers, asked, picture
from transformers import Qwen2Config, Qwen2ForCausalLM, SiglipVisionConfig, SiglipVisionModel

import interleave as il

TALL = asked("see ", il.Media("multipatch", picture(20, 90, 4)))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("sample", [MULTI, TILES, VIDEO], ids=["multi-image", "single", "video"])
def test_llava_gives_the_logits_of_transformers(sample: il.Sample, tied: bool, tmp_path: Path) -> None:
    theirs = llava(tmp_path / "hf", tied)
    lm = il.load(tmp_path / "hf")
    batch = lm.batch([sample])
    with torch.no_grad():
        expected = theirs(**as_transformers(batch, lm, theirs.config.image_token_id)).logits
        torch.testing.assert_close(lm.model(batch), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sample", [MULTI, VIDEO], ids=["multi-image", "video"])
def test_llava_of_clip_and_llama_gives_the_logits_of_transformers(sample: il.Sample, tmp_path: Path) -> None:
    theirs = llava_15(tmp_path / "hf")
    lm = il.load(tmp_path / "hf")
    assert lm.model.llm.tokenizer.open("user") == "USER: "
    batch = lm.batch([sample])
    with torch.no_grad():
        expected = theirs(**as_transformers(batch, lm, theirs.config.image_token_id)).logits
        torch.testing.assert_close(lm.model(batch), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sample", [MULTI, TILES, TALL, VIDEO], ids=["multi-image", "wide", "tall", "video"])
def test_llava_onevision_gives_the_logits_of_transformers(sample: il.Sample, tmp_path: Path) -> None:
    theirs = onevision(tmp_path / "hf")
    lm = il.load(tmp_path / "hf")
    batch = lm.batch([sample])
    config = theirs.config
    inputs = as_transformers(batch, lm, config.image_token_id, config.video_token_id)
    media = [part for part in sample.messages[0].content if isinstance(part, il.Media)]
    if media[0].kind == "video":
        inputs["pixel_values_videos"] = inputs.pop("pixel_values")[None]
    else:
        pixels = inputs.pop("pixel_values")
        counts = [s.views for s in batch.visuals]
        inputs["pixel_values"] = torch.nn.utils.rnn.pad_sequence(pixels.split(counts), batch_first=True)
        inputs["image_sizes"] = torch.tensor([[m.data.height, m.data.width] for m in media])
        inputs["batch_num_images"] = torch.tensor([len(media)])
    with torch.no_grad():
        torch.testing.assert_close(lm.model(batch), theirs(**inputs).logits, rtol=0, atol=1e-4)


def test_old_and_new_prefixes_are_the_same_model(tmp_path: Path) -> None:
    llava(tmp_path / "v5")
    state = load_file(tmp_path / "v5" / "model.safetensors")
    new = {_new(name): tensor for name, tensor in state.items()}
    assert new.keys().isdisjoint(state.keys() - {"lm_head.weight"})
    (tmp_path / "new").mkdir()
    for file in (tmp_path / "v5").iterdir():
        if file.suffix == ".json":
            (tmp_path / "new" / file.name).write_bytes(file.read_bytes())
    save_file(new, tmp_path / "new" / "model.safetensors")
    one, two = il.load(tmp_path / "v5"), il.load(tmp_path / "new")
    batch = one.batch([MULTI])
    with torch.no_grad():
        torch.testing.assert_close(one.model(batch), two.model(batch), rtol=0, atol=0)


def _new(name: str) -> str:
    """As Transformers 4.52 named them."""
    if name.startswith("language_model.lm_head"):
        return name.replace("language_model.", "")
    name = name.replace("language_model.model.", "language_model.")
    inner = name.replace("vision_tower.", "vision_tower.vision_model.") if "vision_model" not in name else name
    return f"model.{inner}"


@pytest.mark.parametrize(("shards", "pickled"), [(1, False), (3, False), (1, True), (2, True)])
def test_shards_and_pickles_hold_the_same_model(shards: int, pickled: bool, tmp_path: Path) -> None:
    plain = il.load(original(tmp_path / "plain"))
    other = il.load(original(tmp_path / "other", shards=shards, pickled=pickled))
    batch = plain.batch([MULTI, VIDEO])
    with torch.no_grad():
        torch.testing.assert_close(plain.model(batch), other.model(batch), rtol=0, atol=0)


def test_overrides_change_options_and_refuse_unknown_parts(tmp_path: Path) -> None:
    folder = original(tmp_path / "m")
    assert len(il.load(folder, ["modality.video.num_frames=2"]).batch([VIDEO]).pixel_values) == 2
    with pytest.raises(il.InputError, match="has no part 'modalities'; it has llm, modality"):
        il.load(folder, ["modalities.video.frames=2"])


def test_weights_keep_their_precision_unless_another_is_asked_for(tmp_path: Path) -> None:
    folder = original(tmp_path / "m")
    state = {k: v.bfloat16() for k, v in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors")
    kept, wide = il.load(folder), il.load(folder, dtype=torch.float32)
    assert {p.dtype for p in kept.model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in wide.model.parameters()} == {torch.float32}
    with torch.no_grad():
        batch = kept.batch([MULTI])
        assert kept.model(batch).dtype == torch.bfloat16
        torch.testing.assert_close(kept.model(batch).float(), wide.model(batch), rtol=0.1, atol=0.3)


class Code:
    def __reduce__(self) -> Any:
        return print, ("code ran",)


def damage(folder: Path, how: str) -> None:  # noqa: C901
    state = load_file(folder / "model.safetensors")
    if how == "shard":
        (folder / "model.safetensors").unlink()
        write(folder, state, shards=2)
        (folder / "model-00002-of-00002.safetensors").unlink()
    elif how == "shape":
        write(folder, state | {"model.mm_projector.2.bias": torch.zeros(31)})
    elif how == "missing":
        write(folder, {k: v for k, v in state.items() if k != "model.norm.weight"})
    elif how == "unknown":
        write(folder, state | {"model.layers.7.mlp.up_proj.weight": torch.zeros(3)})
    elif how == "type":
        (folder / "config.json").write_text('{"model_type": "bert"}')
    elif how == "json":
        (folder / "config.json").write_text("{")
    elif how == "code":
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"model.norm.weight": Code()}))
    elif how == "cut":
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    elif how == "tokenizer":
        tokenizer(without="<|im_start|>").save_pretrained(folder)
    elif how == "weights":
        (folder / "model.safetensors").unlink()
    else:
        config = json.loads((folder / "config.json").read_text())
        name, value = how.split("=")
        (folder / "config.json").write_text(json.dumps({**config, name: value}))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("shard", r"model-00002-of-00002\.safetensors is missing: model\.safetensors\.index\.json says it holds"),
        ("shape", r"model\.safetensors holds model\.mm_projector\.2\.bias of shape \(31,\) .* asks for \(32,\)"),
        ("missing", r"lacks model\.norm\.weight"),
        (
            "unknown",
            r"model\.safetensors holds model\.layers\.7\.mlp\.up_proj\.weight, which the model .* does not have",
        ),
        ("type", r"config\.json: model_type 'bert' is unknown; known: llava_qwen"),
        ("json", r"config\.json is not JSON"),
        ("code", r"pytorch_model\.bin holds more than tensors and was not opened"),
        ("cut", r"model\.safetensors cannot be read"),
        ("tokenizer", r"no token <\|im_start\|>"),
        ("weights", r"holds no weights: none of model\.safetensors, .* is there"),
        ("mm_projector_type=qformer", r"no part for mm_projector_type 'qformer'; known: linear, mlpNx_gelu"),
        ("mm_patch_merge_type=odd", r"no part for mm_patch_merge_type 'odd'"),
        ("image_aspect_ratio=odd", r"no part for image_aspect_ratio 'odd'"),
        ("mm_newline_position=odd", r"no part for mm_newline_position 'odd'"),
        ("mm_spatial_pool_mode=odd", r"no part for mm_spatial_pool_mode 'odd'"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_one_line(
    how: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = original(tmp_path / "m")
    damage(folder, how)
    with pytest.raises(il.InputError, match=said) as caught:
        il.load(folder)
    assert "\n" not in str(caught.value)
    assert "code ran" not in capsys.readouterr().out


def test_no_folder_and_no_model_are_said(tmp_path: Path) -> None:
    with pytest.raises(il.InputError, match=r"neither config\.yaml nor config\.json"):
        il.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [("vision_encoder: [", "config.yaml cannot be read"), ("llm: {}", "config.yaml describes no vision_encoder")],
)
def test_a_run_with_a_broken_config_is_said(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(il.InputError, match=said):
        il.load(tmp_path)


@pytest.mark.parametrize("part", ["vision_config", "text_config"])
def test_a_config_of_transformers_that_describes_no_model_is_said(part: str, tmp_path: Path) -> None:
    llava(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, part: {**config[part], "hidden_size": "wide"}}))
    with pytest.raises(il.InputError, match=r"config\.json describes no llava model: .*hidden_size") as caught:
        il.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_projector_alone_asks_for_the_rest_and_takes_it(tmp_path: Path) -> None:
    folder = original(tmp_path / "m")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({k: v for k, v in state.items() if "mm_projector" in k}, folder / "mm_projector.bin")
    with pytest.raises(
        il.InputError, match=r"lacks .*; it holds nothing of the vision_encoder: give vision_encoder\.path"
    ):
        il.load(folder)
    text = Qwen2ForCausalLM(Qwen2Config(**TEXT, rope_theta=1e6)).eval()
    text.save_pretrained(tmp_path / "text")
    SiglipVisionModel(SiglipVisionConfig(**VISION)).save_pretrained(tmp_path / "vision")
    lm = il.load(folder, [f"llm.path={tmp_path}/text", f"vision_encoder.path={tmp_path}/vision"])
    assert torch.equal(lm.model.projector[0].weight, state["model.mm_projector.0.weight"])
    assert torch.equal(lm.model.llm.model.lm_head.weight, text.lm_head.weight)
    assert torch.isfinite(lm.model(lm.batch([MULTI]))).all()


def test_the_size_of_a_view_comes_from_the_checkpoint(tmp_path: Path) -> None:
    assert il.load(original(tmp_path / "m")).vision.size == SIZE
