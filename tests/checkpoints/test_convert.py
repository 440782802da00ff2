"""Layouts out: bit-exact round trips, exports that Transformers runs, and nothing left behind by what failed."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from published import PINPOINTS, llava, llava_15, onevision, original
from safetensors.torch import load_file, save_file
from shown_samples import MULTI, TILES, VIDEO, as_transformers, picture
from small_models import small_config
from transformers import AutoProcessor, LlavaForConditionalGeneration, LlavaOnevisionForConditionalGeneration

import interleave as il
from interleave.checkpoints import LAYOUTS
from interleave.cli import main
from interleave.export.convert import convert
from interleave.media.views import to_view
from interleave.model.assembly import assemble

UNPAD = {"mm_patch_merge_type": "spatial_unpad", "image_aspect_ratio": "anyres", "image_grid_pinpoints": PINPOINTS}


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}


def equal(one: Path, two: Path) -> None:
    first, second = tensors(one), tensors(two)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shards", [1, 3])
def test_original_to_native_and_back_is_bit_exact(tied: bool, shards: int, tmp_path: Path) -> None:
    source = original(tmp_path / "a", tied, shards, **UNPAD)
    assert convert(source, tmp_path / "b", "native") == 0
    assert convert(tmp_path / "b", tmp_path / "c", "original") == 0
    equal(source, tmp_path / "c")
    before, after = (json.loads((f / "config.json").read_text()) for f in (source, tmp_path / "c"))
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize("tied", [True, False])
def test_llava_to_native_and_back_is_bit_exact(tied: bool, tmp_path: Path) -> None:
    llava(tmp_path / "a", tied)
    convert(tmp_path / "a", tmp_path / "b", "native")
    convert(tmp_path / "b", tmp_path / "c", "llava")
    first = {LAYOUTS["llava"].to_native(k): v for k, v in tensors(tmp_path / "a").items()}
    second = {LAYOUTS["llava"].to_native(k): v for k, v in tensors(tmp_path / "c").items()}
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_clip_and_llama_go_to_native_and_back(tmp_path: Path) -> None:
    llava_15(tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b", "native")
    assert convert(tmp_path / "b", tmp_path / "c", "llava") < 1e-4
    first, second = ({LAYOUTS["llava"].to_native(k): v for k, v in tensors(tmp_path / f).items()} for f in "ac")
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_tied_head_that_was_written_twice_comes_back(tmp_path: Path) -> None:
    source = original(tmp_path / "a", tied=True)
    state = load_file(source / "model.safetensors")
    save_file({**state, "lm_head.weight": state["model.embed_tokens.weight"].clone()}, source / "model.safetensors")
    convert(source, tmp_path / "b", "native")
    convert(tmp_path / "b", tmp_path / "c", "original")
    equal(source, tmp_path / "c")


def test_saving_a_loaded_model_keeps_what_it_does_not_read(tmp_path: Path) -> None:
    source = original(tmp_path / "a", **UNPAD)
    lm = il.load(source, ["modality.video.num_frames=3"])
    (tmp_path / "b").mkdir()
    lm.save(tmp_path / "b")
    again = il.load(tmp_path / "b")
    assert again.config["modality"]["video"]["num_frames"] == 3
    batch = lm.batch([MULTI, TILES])
    with torch.no_grad():
        torch.testing.assert_close(again.model(again.batch([MULTI, TILES])), lm.model(batch), rtol=0, atol=0)
    convert(tmp_path / "b", tmp_path / "c", "original")
    equal(source, tmp_path / "c")
    with pytest.raises(il.InputError, match="exists and is not empty; nothing is written over it"):
        lm.save(tmp_path / "b")


@pytest.mark.parametrize("fit", ["pad", "square"])
def test_transformers_runs_an_exported_llava_by_itself(fit: str, tmp_path: Path) -> None:
    """From the pictures and the messages on: processor, chat template, model."""
    source = original(tmp_path / "a", image_aspect_ratio=fit)
    convert(source, tmp_path / "b", "llava")
    lm = il.load(source)
    theirs = LlavaForConditionalGeneration.from_pretrained(tmp_path / "b").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "b")
    a, b = picture(42, 42), picture(42, 42, 1)
    content = [
        {"type": "image"},
        {"type": "text", "text": "\n then "},
        {"type": "image"},
        {"type": "text", "text": "?"},
    ]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(text=[text], images=[[a, b]], return_tensors="pt")
    turn = il.Message("user", [il.Media("image", a), "\n then ", il.Media("image", b), "?"])
    with torch.no_grad():
        expected = theirs(**inputs, use_cache=False).logits
        found = lm.model(lm.batch([il.Sample([turn])], reply=True))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("to", ["original", "llava"])
def test_frames_are_never_padded_whatever_pictures_are(to: str, tmp_path: Path) -> None:
    """As the released training, evaluation and demo code show them; views of a scene follow the pictures."""
    source = original(tmp_path / "a", image_aspect_ratio="pad")
    convert(source, tmp_path / "b", to)
    wide = [picture(60, 20), picture(60, 20, 1)]
    for folder in ("a", "b"):
        adapters = il.load(tmp_path / folder).adapters
        spec = adapters["video"].vision
        frames = torch.stack([to_view(frame, spec, "square") for frame in wide])
        padded = torch.stack([to_view(frame, spec, "pad") for frame in wide])
        assert torch.equal(adapters["video"].prepare(wide).pixel_values, frames)
        for kind in ("image", "scene3d"):
            assert torch.equal(
                adapters[kind].prepare(wide if kind == "scene3d" else wide[0]).pixel_values[0], padded[0]
            )
    il.load(source, ["modality.video.fit=pad"]).save(tmp_path / "c")
    with pytest.raises(il.InputError, match=f"{to} cannot hold fit: it never pads the frames of a video"):
        convert(tmp_path / "c", tmp_path / "d", to)


def test_an_exported_onevision_gives_our_logits(tmp_path: Path) -> None:
    onevision(tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b", "native")
    convert(tmp_path / "b", tmp_path / "c", "llava-onevision")
    lm, theirs = il.load(tmp_path / "b"), LlavaOnevisionForConditionalGeneration.from_pretrained(tmp_path / "c").eval()
    batch = lm.batch([VIDEO])
    inputs = as_transformers(batch, lm, theirs.config.image_token_id, theirs.config.video_token_id)
    inputs["pixel_values_videos"] = inputs.pop("pixel_values")[None]
    with torch.no_grad():
        torch.testing.assert_close(lm.model(batch), theirs(**inputs).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("to", "drop"), [("llava", ["newline", "multipatch"]), ("llava-onevision", ["fit", "video"])])
def test_what_a_layout_cannot_hold_is_refused_or_dropped_by_name(to: str, drop: list[str], tmp_path: Path) -> None:
    source = original(tmp_path / "a", **UNPAD)
    with pytest.raises(
        il.InputError, match=f"{to} cannot hold {drop[0]}: .*; --drop {','.join(drop)} writes it without"
    ):
        convert(source, tmp_path / "b", to)
    assert not (tmp_path / "b").exists()
    convert(source, tmp_path / "b", to, drop)
    assert il.load(tmp_path / "b").model.llm.newline.any() == (to == "llava-onevision")


def test_a_model_of_a_run_goes_out_with_rows_added_for_its_placeholder(tmp_path: Path) -> None:
    """The tiny model's tokenizer fills its vocabulary, so that <image> needs a row of its own."""
    config = small_config()
    config["modality"] = {"image": {"name": "image"}, "video": {"name": "video", "num_frames": 4}}
    torch.manual_seed(0)
    il.LM(assemble(config), config).save(tmp_path / "run")
    assert convert(tmp_path / "run", tmp_path / "out", "llava") < 1e-4
    asked = il.Sample([il.Message("user", [il.Media("image", picture(16, 16)), "hi"])])
    assert torch.equal(*(il.load(tmp_path / name).batch([asked], reply=True).input_ids for name in ("run", "out")))
    before, after = (il.load(tmp_path / name).model.llm for name in ("run", "out"))
    assert after.model.lm_head.out_features == before.model.lm_head.out_features + 1


def test_the_original_layout_takes_only_models_that_speak_as_it_does(tmp_path: Path) -> None:
    il.LM(assemble(small_config()), small_config()).save(tmp_path / "run")
    with pytest.raises(
        il.InputError, match="original cannot hold llm: it speaks ChatML, and the turns of this model are"
    ):
        convert(tmp_path / "run", tmp_path / "out", "original")


def test_a_resampler_is_refused_and_cannot_be_dropped(tmp_path: Path) -> None:
    config = small_config(projector={"name": "resampler", "queries": 4})
    il.LM(assemble(config), config).save(tmp_path / "run")
    with pytest.raises(il.InputError, match="llava cannot hold projector: it holds an mlp of depth 2"):
        convert(tmp_path / "run", tmp_path / "out", "llava", ["newline", "multipatch", "video"])


def test_an_export_that_computes_something_else_names_the_module_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = original(tmp_path / "a")
    right = type(LAYOUTS["llava"]).from_native

    def swapped(self: object, name: str, used: bool) -> str | None:
        name = name.replace("layers.1.mlp.up_proj", "layers.1.mlp.x").replace(
            "layers.1.mlp.gate_proj", "layers.1.mlp.up_proj"
        )
        return right(self, name.replace("layers.1.mlp.x", "layers.1.mlp.gate_proj"), used)  # type: ignore[arg-type]

    monkeypatch.setattr(type(LAYOUTS["llava"]), "from_native", swapped)
    with pytest.raises(il.InputError, match="first different is the language model layer 1 of the image prompt"):
        convert(source, tmp_path / "b", "llava")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]


def test_the_command_converts_and_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = original(tmp_path / "a")
    assert main(["convert", str(source), str(tmp_path / "b"), "--to", "llava"]) == 0
    assert "its logits equal the source's to" in capsys.readouterr().out
    (source / "model.safetensors").unlink()
    assert main(["convert", str(source), str(tmp_path / "c"), "--to", "native"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "holds no weights" in said
    assert not (tmp_path / "c").exists()


STREAM = """
import resource, sys
from pathlib import Path
from interleave.checkpoints.tensor_files import Tensors
from interleave.checkpoints.tensor_files_write import write_file
source = Tensors(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i, file in enumerate(source.files):
    names = source.names_in(file)
    write_file(Path(sys.argv[2]) / f"{i}.safetensors", {n: source.specs[n] for n in names}, source.read(names))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_streaming_holds_less_than_a_shard_and_a_fifth(tmp_path: Path) -> None:
    shards, size = 4, 64 * 2**20
    homes = {}
    for i in range(shards):
        file = f"model-{i}.safetensors"
        save_file({f"{i}.{j}": torch.full((size // 16,), float(j)) for j in range(4)}, tmp_path / file)
        homes |= {f"{i}.{j}": file for j in range(4)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", STREAM, str(tmp_path), str(tmp_path / "out")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) * 1024
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0
    assert grown < 1.2 * size
    assert torch.equal(load_file(tmp_path / "out" / "3.safetensors")["3.2"], torch.full((size // 16,), 2.0))
