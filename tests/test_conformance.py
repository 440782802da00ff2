"""Every registered name keeps its contract. A plugin package runs the same checks on its own names."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_config

from interleave import testing
from interleave.registry import GROUPS

VIT = {"image_size": 28, "patch_size": 14, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
NAFLEX = {**VIT, "num_patches": 4, "intermediate_size": 32}
del NAFLEX["image_size"]
LLM = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.2,
}  # a larger range, so that attention shows
LAYERS = ["sliding_attention", "full_attention"]
SMALL: dict[tuple[str, str], dict[str, Any]] = {
    ("vision_encoder", "siglip"): {"config": {**VIT, "intermediate_size": 32}},
    ("vision_encoder", "siglip2"): {"config": NAFLEX},
    ("vision_encoder", "clip"): {"config": {**VIT, "intermediate_size": 32}},
    ("vision_encoder", "dinov2"): {"config": VIT},
    ("vision_encoder", "timm"): {"model": "vit_tiny_patch16_224", "size": 32},
    ("projector", "resampler"): {"queries": 4, "heads": 2},
    ("llm", "qwen2"): {"config": {**LLM, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}},
    ("llm", "qwen3"): {"config": {**LLM, "head_dim": 8}},
    ("llm", "llama"): {"config": LLM},
    ("llm", "gemma"): {"config": {**LLM, "head_dim": 8, "sliding_window": 6, "layer_types": LAYERS}},
    ("llm", "auto"): {"config": {**LLM, "model_type": "mistral", "sliding_window": 6}},
}  # fmt: skip


def options(group: str, name: str, folder: Path) -> dict[str, Any]:
    """Small sizes, and small files for what reads files."""
    given = {"name": name} | SMALL.get((group, name), {})
    if name == "mini":
        return given | {"root": str(folder), "scenes": 3}
    if group in ("dataset", "task"):
        return given | {"path": str(testing.write_records(folder)), "media": str(folder)}
    return given


@pytest.mark.parametrize(("group", "name"), [(g, n) for g, registry in GROUPS.items() for n in registry])
def test_every_registered_name_keeps_its_contract(group: str, name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    testing.check(group, options(group, name, tmp_path), small_config())


@pytest.mark.parametrize("model", ["convnext_atto", "vit_small_patch16_dinov3"])
def test_timm_takes_nets_of_other_shapes(model: str) -> None:
    testing.check("vision_encoder", {"name": "timm", "model": model, "size": 64}, small_config())
