"""A run's first weights: what each rank reads for its shards is what one process reads as a whole, bit for bit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from published import TEXT, VISION, llava, onevision, original, tokenizer
from safetensors.torch import load_file
from small_models import ROOT, small_config
from start_job import started
from transformers import Qwen2Config, Qwen2ForCausalLM, SiglipVisionConfig, SiglipVisionModel

import interleave as il
from interleave.cli import main
from interleave.interfaces.stored_weights import deferred_places
from interleave.model.assembly import assemble
from interleave.training.start import initial_model

State = dict[str, torch.Tensor]


def by_path(folder: Path, tied: bool) -> dict[str, Any]:
    """A config whose parts lie in files of their own: a tower in several files, and fewer words than tokens."""
    torch.manual_seed(2)
    SiglipVisionModel(SiglipVisionConfig(**VISION)).save_pretrained(folder / "tower", max_shard_size="10KB")
    text = Qwen2Config(**{**TEXT, "vocab_size": 255}, tie_word_embeddings=tied)
    Qwen2ForCausalLM(text).to(torch.bfloat16).save_pretrained(folder / "llm")
    tokenizer().save_pretrained(folder / "llm")
    return small_config(
        vision_encoder={"name": "siglip", "path": str(folder / "tower")},
        llm={"name": "qwen2", "path": str(folder / "llm")},
    )


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("start")
    original(folder / "original", tied=True, shards=3)
    original(folder / "pickled", pickled=True)
    llava(folder / "llava")
    onevision(folder / "onevision")
    torch.manual_seed(1)
    il.LM(assemble(small_config()), small_config()).save(folder / "native")
    layouts = ("original", "pickled", "llava", "onevision", "native")
    made: dict[str, dict[str, Any]] = {name: {"init": str(folder / name)} for name in layouts}
    made["adapters"] = {"init": str(folder / "llava"), "lora": True}
    for tied in (False, True):
        made[f"path_{tied}"] = {"init": None, **by_path(folder / f"path_{tied}", tied)}
    return made


@pytest.fixture(scope="module")
def sharded(configs: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, State]:
    """The weights of each config after a start of two ranks."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "configs.json").write_text(json.dumps(configs))
    job = [str(ROOT / "tests/support/start_job.py"), str(folder / "configs.json"), str(folder / "states.pt")]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *job],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests/support")},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    states: dict[str, State] = torch.load(folder / "states.pt")
    return states


def equal(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    assert not [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)]


@pytest.mark.parametrize("name", ["original", "pickled", "llava", "onevision", "native"])
def test_two_ranks_fill_their_shards_as_one_process_reads_a_checkpoint(
    name: str, configs: dict[str, dict[str, Any]], sharded: dict[str, State]
) -> None:
    whole = il.load(configs[name]["init"], dtype=torch.float32).model
    equal(sharded[name], dict(whole.state_dict()))
    equal(started(configs[name], shards=False), dict(whole.state_dict()))


def test_adapters_keep_their_initial_values(configs: dict[str, dict[str, Any]], sharded: dict[str, State]) -> None:
    assert any(tensor.any() for name, tensor in sharded["adapters"].items() if "lora_A" in name)
    equal(sharded["adapters"], started(configs["adapters"], shards=False))


@pytest.mark.parametrize("tied", [False, True])
def test_parts_by_path_are_filled_as_transformers_reads_them(
    tied: bool, configs: dict[str, dict[str, Any]], sharded: dict[str, State]
) -> None:
    """Layers that the tower drops are not read, tokens that the files lack have random rows, the same on each rank."""
    config = configs[f"path_{tied}"]
    whole, found = dict(assemble(config).model.state_dict()), sharded[f"path_{tied}"]
    drawn = ("llm.newline", "projector.", "modality.")
    for name, tensor in whole.items():
        own, expected = found[name], tensor
        if len(tensor) == 259:  # 255 of the files, and 4 new tokens
            new, own, expected = own[255:], own[:255], expected[:255]
            assert 0 < new.std() < 2 * TEXT["initializer_range"]
        assert name.startswith(drawn) or torch.equal(own, expected), name
    assert torch.equal(found["llm.model.lm_head.weight"], found["llm.model.model.embed_tokens.weight"]) == tied
    equal(found, started(config, shards=False))


def test_no_weight_has_memory_before_it_is_filled(configs: dict[str, dict[str, Any]]) -> None:
    for name, config in configs.items():
        model = initial_model({"overrides": [], **config}, reads=True)[0].model
        real = {n for n, p in model.named_parameters() if not p.is_meta}
        allowed = ("llm.newline", "projector.", "modality.") if name.startswith("path") else ("llm.newline",)
        assert all(n.startswith(allowed) for n in real), name
        assert model.mean.device.type == "cpu"


def test_files_that_hold_other_tensors_are_left_to_transformers(
    configs: dict[str, dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pickled file is one: the part is then read as a whole, and says so."""
    folder = tmp_path / "llm"
    shutil.copytree(Path(configs["path_True"]["llm"]["path"]), folder)
    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    config = {**configs["path_True"], "llm": {"name": "qwen2", "path": str(folder)}, "overrides": []}
    model = initial_model(config, reads=True)[0].model
    assert not any(name.startswith("llm.") for name in deferred_places(model))
    assert torch.equal(model.get_parameter("llm.model.model.norm.weight").bfloat16(), state["model.norm.weight"])
    assert "each process reads it as a whole" in caplog.text


def test_resuming_does_not_read_the_first_weights(tmp_path: Path) -> None:
    """Their files may be gone by then."""
    source = original(tmp_path / "published", tied=True)
    command = [
        "train", f"init={source}", "stage=interleave", f"run={tmp_path}/run", "dataset.mini.scenes=3",
        f"dataset.mini.root={tmp_path}/mini", "logger=none", "callbacks.progress=null",
    ]  # fmt: skip
    assert main([*command, "trainer.max_steps=2"]) == 0
    after_two = il.load(tmp_path / "run").model.state_dict()
    (source / "model.safetensors").unlink()
    assert main([*command, "trainer.max_steps=3", f"resume={tmp_path}/run"]) == 0
    after_three = il.load(tmp_path / "run").model.state_dict()
    for name, tensor in after_three.items():
        assert torch.allclose(tensor, after_two[name], atol=1e-3), name
