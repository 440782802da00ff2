"""Numbers of the published code: ids, labels, lengths, embeddings, logits, loss and pixels."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_models import SHARED

import interleave as il

CASES = sorted(p.stem for p in (SHARED / "golden" / "cases").glob("*.json"))


def golden(name: str, shared: Path, folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], il.LM]:
    """A case, its tensors and the checkpoint with the case's settings."""
    case = json.loads((shared / "golden/cases" / f"{name}.json").read_text())
    tensors = load_file(shared / "golden/cases" / f"{name}.safetensors")
    shutil.copytree(shared / "golden/checkpoint", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **case["config"]}))
    return case, tensors, il.load(folder)


def record(sample: dict[str, Any]) -> dict[str, Any]:
    images = [m["file"] for m in sample["media"] if "file" in m]
    videos = [m["folder"] for m in sample["media"] if "folder" in m]
    return {"conversations": sample["conversations"], "image": images, "video": videos}


@pytest.mark.parametrize("name", CASES)
def test_a_golden_case_is_reproduced(name: str, shared: Path, tmp_path: Path) -> None:
    case, tensors, lm = golden(name, shared, tmp_path / "model")
    samples = [il.sample_from_llava(record(s), shared / "media") for s in case["samples"]]
    batch = lm.batch(samples, labels="published")
    with torch.no_grad():
        logits, embeds = lm.model(batch), lm.model.embed(batch)
        loss, count = lm.model.loss(batch)
    assert float(loss / count) == pytest.approx(case["loss"], abs=1e-4)
    newline = lm.model.llm.tokenizer.newline_id
    for b, sample in enumerate(case["samples"]):
        assert int((batch.document_ids[b] > 0).sum()) == sample["length"]
        labels = [[i, int(x)] for i, x in enumerate(batch.labels[b].tolist()) if x != -100]
        assert labels == sample["labels_after_merge"]
        slots = set((batch.visual_positions - b * batch.input_ids.shape[1]).tolist())
        text = [
            x for i, x in enumerate(batch.input_ids[b, : sample["length"]].tolist()) if i not in slots and x != newline
        ]
        assert text == [x for x in sample["input_ids"] if x != -200]
        at = sample["positions"]
        torch.testing.assert_close(embeds[b, at], tensors[f"{b}.embeds"], rtol=0, atol=2e-5)
        torch.testing.assert_close(logits[b, at], tensors[f"{b}.logits"], rtol=0, atol=2e-4)


@pytest.mark.parametrize("fit", ["pad", "square"])
def test_pixels_are_those_of_the_published_code(fit: str, shared: Path, tmp_path: Path) -> None:
    lm = golden(CASES[0], shared, tmp_path / "model")[2]
    lm = il.load(tmp_path / "model", [f"modality.image.fit={fit}"])
    visual = lm.adapters["image"].prepare(shared / "media" / "dog1.jpg")
    ours = (visual.pixel_values[0] / 255 - lm.model.mean) / lm.model.std
    theirs = load_file(shared / "golden" / "pixels_dog1.safetensors")
    torch.testing.assert_close(ours, theirs[fit], rtol=0, atol=1e-6)


def test_the_folder_of_golden_numbers_was_found_or_said_to_be_absent(shared: Path) -> None:
    assert len(CASES) >= 4, "without cases the test above would pass unseen"
