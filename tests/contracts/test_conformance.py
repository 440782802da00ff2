"""Every registered name keeps its contract. A plugin package runs the same checks on its own names."""

import json
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bench_files
import m4_stand_in as standin
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import task_files
import torch
from chat_model import write_chat_model
from judge_server import JudgeServer, says
from small_models import small_config

from interleave import BENCH, testing
from interleave.cli import main
from interleave.interfaces.registry import GROUPS

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


def _release(folder: Path) -> dict[str, Any]:
    standin.write(folder, 60)
    return {"root": str(folder)}


def _shards(folder: Path) -> dict[str, Any]:
    records = testing.write_records(folder)
    files = [f"dataset.llava_json.path={records}", f"dataset.llava_json.media={folder}"]
    assert main(["data", "pack", "--out", str(folder / "shards"), "dataset=llava_json", *files]) == 0
    return {"path": str(folder / "shards")}


def _table(folder: Path) -> dict[str, Any]:
    records = json.loads(testing.write_records(folder).read_text())
    keys = ("id", "image", "conversations")
    pq.write_table(pa.Table.from_pylist([{k: r[k] for k in keys} for r in records]), folder / "rows.parquet")
    return {"path": str(folder), "media": str(folder)}


def _archive(folder: Path) -> dict[str, Any]:
    (record,) = json.loads(testing.write_records(folder).read_text())
    (folder / "one.json").write_text(json.dumps({**record, "image": None}))
    with tarfile.open(folder / "a.tar", "w") as tar:
        tar.add(folder / "one.json", "one.json")
        tar.add(folder / "grey.png", "one.png")
    return {"path": f"{folder}/*.tar"}


def _bench(folder: Path) -> dict[str, Any]:
    return {"root": str(bench_files.write(folder, 1).folder)}


def _demos(folder: Path) -> dict[str, Any]:
    testing.write_records(folder)
    demo = {"id": "a", "kind": "mine", "images": ["grey.png"], "prompt": "Which colour?", "mentions": ["grey"]}
    (folder / "demos.yaml").write_text(json.dumps([demo]))
    return {"media": str(folder), "demos": str(folder / "demos.yaml")}


def _server(folder: Path) -> dict[str, Any]:
    return {"model": "grader", "base_url": JudgeServer([says("yes")]).start().url, "key_env": None}


FILES: dict[tuple[str, str], Callable[[Path], dict[str, Any]]] = {
    ("dataset", "m4_instruct"): _release,
    ("dataset", "shards"): _shards,
    ("dataset", "huggingface"): _table,
    ("dataset", "webdataset"): _archive,
    ("task", "emerging"): _demos,
    ("judge", "openai"): _server,
    ("judge", "local"): lambda folder: {"path": str(write_chat_model(folder)), "max_tokens": 4},
    **{("task", name): partial(task_files.write, name) for name in task_files.WRITERS},
    **{("task", name): _bench for name in ("interleave_bench", "interleave_bench_3d", *BENCH)},
}


def options(group: str, name: str, folder: Path) -> dict[str, Any]:
    """Small sizes, and small files for what reads files."""
    given = {"name": name} | SMALL.get((group, name), {})
    if name == "mini":
        return given | {"root": str(folder), "scenes": 3}
    if (group, name) in FILES:
        return given | FILES[group, name](folder)
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
