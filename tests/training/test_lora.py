"""Low-rank adapters: what learns, what stays, what goes out; on 4-bit weights where bitsandbytes is installed."""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from published import original
from shown_samples import MULTI
from small_models import small_config
from torch import Tensor

import interleave as il
from interleave.checkpoints import tied_names
from interleave.cli import main
from interleave.model.assembly import assemble
from interleave.training.lightning_module import LitInterleaved
from interleave.training.lora import Lora, inject
from interleave.training.optimizer import Stage
from interleave.training.train import parts_table
from interleave.training.weight_export import GatheredWeights

RATES: dict[str, float | None] = {"projector": 1e-2, "llm": 1e-2}


def digest(tensors: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def adapted(lora: Lora) -> Any:
    torch.manual_seed(0)
    model = assemble(small_config()).model
    lit = LitInterleaved(model, Stage(RATES, lora=lora))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zeros at first, which would change nothing
            torch.nn.init.normal_(parameter, std=0.1)
    return lit


def test_only_adapters_projector_and_newline_learn() -> None:
    lit = adapted(Lora(rank=4))
    learning = {name for name, p in lit.model.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in learning if name.startswith("llm.") and name != "llm.newline")
    assert {"llm.newline", "projector.0.weight"} <= learning
    table = [str(c) for c in parts_table(lit).columns[0].cells]
    assert table == ["vision_encoder", "projector", "llm", "llm adapters", "newline", "modality"]


def test_a_fresh_adapter_changes_nothing_and_merging_keeps_what_it_learned() -> None:
    torch.manual_seed(0)
    plain = assemble(small_config()).model.eval()
    ids = torch.randint(0, 200, (1, 9))
    where = torch.arange(9)[None], il.Segments.of([[9]])
    expected = plain.llm(plain.llm.embed(ids), *where)
    inject(plain.llm, Lora(rank=4, targets=["q_proj", "down_proj"]))
    torch.testing.assert_close(plain.llm(plain.llm.embed(ids), *where), expected, rtol=0, atol=1e-6)
    for name, parameter in plain.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    learned = plain.llm(plain.llm.embed(ids), *where)
    assert not torch.allclose(learned, expected, atol=1e-3)
    again = assemble(small_config()).model.eval()
    weights = GatheredWeights(plain, Lora(rank=4), torch.float32)
    missing, _ = again.load_state_dict({name: weights.read(name) for name in weights.specs}, strict=False)
    assert missing == list(tied_names(again)), "tied weights are there once"
    torch.testing.assert_close(again.llm(again.llm.embed(ids), *where), learned, rtol=0, atol=1e-5)


def test_targets_that_are_not_there_are_named() -> None:
    with pytest.raises(il.InputError, match="no linear layer 'query'; it has down_proj, gate_proj"):
        adapted(Lora(targets=["query"]))


def train(tmp_path: Path, *overrides: str) -> int:
    small = ["dataset.mini.scenes=3", f"dataset.mini.root={tmp_path}/mini", "callbacks.progress=null", "logger=none"]
    return main(
        [
            "train",
            f"init={tmp_path}/published",
            "stage=lora",
            "stage.lora.rank=4",
            "stage.lr.llm=0.01",
            *small,
            *overrides,
        ]
    )


def test_a_run_keeps_frozen_bits_writes_the_adapter_and_merges_it(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import Qwen2ForCausalLM

    source = original(tmp_path / "published")
    before = il.load(source, dtype=torch.float32)
    assert train(tmp_path, "trainer.max_steps=3", f"run={tmp_path}/run") == 0
    after = il.load(tmp_path / "run")
    first, second = before.model.state_dict(), after.model.state_dict()
    assert first.keys() == second.keys(), "the merged model has the names of one without adapters"
    frozen = [n for n in first if n.startswith("vision_encoder.") or "norm" in n or "embed" in n or "lm_head" in n]
    assert digest({n: first[n] for n in frozen}) == digest({n: second[n] for n in frozen})
    moved = {n for n in first if not torch.equal(first[n], second[n])}
    assert "llm.model.model.layers.0.self_attn.q_proj.weight" in moved
    base: Any = Qwen2ForCausalLM(before.model.llm.model.config)
    base.load_state_dict(before.model.llm.model.state_dict())
    peft = PeftModel.from_pretrained(base, str(tmp_path / "run" / "adapter")).eval()
    ids = torch.randint(0, 250, (1, 7))
    with torch.no_grad():
        expected = peft(ids).logits
        hidden = after.model.llm(after.model.llm.embed(ids), torch.arange(7)[None], il.Segments.of([[7]]))
        torch.testing.assert_close(after.model.llm.head(hidden), expected, rtol=0, atol=1e-5)


def test_a_run_with_adapters_resumes(tmp_path: Path) -> None:
    original(tmp_path / "published")
    assert train(tmp_path, "trainer.max_steps=4", f"run={tmp_path}/whole") == 0
    cut = ["callbacks.checkpoint.every_n_steps=2", "callbacks.checkpoint.keep=9"]
    assert train(tmp_path, "trainer.max_steps=4", *cut, f"run={tmp_path}/cut") == 0
    (first,) = (tmp_path / "cut" / "checkpoints").glob("step-2")
    assert train(tmp_path, "trainer.max_steps=4", f"resume={first}", f"run={tmp_path}/again") == 0
    whole, again = (il.load(tmp_path / name).model.state_dict() for name in ("whole", "again"))
    assert digest(whole) == digest(again)


def test_quantizing_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interleave.training.lora.find_spec", lambda name: None if name == "bitsandbytes" else True)
    with pytest.raises(il.InputError, match=r"needs the package bitsandbytes; pip install 'interleave\[qlora\]'"):
        adapted(Lora(quantize="nf4"))


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: nox -s qlora runs this")
def test_adapters_on_four_bits_learn_resume_and_merge(tmp_path: Path) -> None:
    source = original(tmp_path / "published")
    quantized = [
        "stage.lora.quantize=nf4",
        "callbacks.checkpoint.every_n_steps=2",
        "callbacks.checkpoint.keep=9",
    ]
    assert train(tmp_path, "trainer.max_steps=4", *quantized, f"run={tmp_path}/whole") == 0
    (first,) = (tmp_path / "whole" / "checkpoints").glob("step-2")
    assert train(tmp_path, "trainer.max_steps=4", *quantized, f"resume={first}", f"run={tmp_path}/again") == 0
    before, whole, again = (il.load(f, dtype=torch.float32) for f in (source, tmp_path / "whole", tmp_path / "again"))
    assert digest(whole.model.state_dict()) == digest(again.model.state_dict())
    name = "llm.model.model.layers.0.mlp.up_proj.weight"
    far = (whole.model.state_dict()[name] - before.model.state_dict()[name]).abs().max()
    assert 0 < far < 0.4, "four bits keep most of weights up to 1"
    assert torch.isfinite(whole.model(whole.batch([MULTI]))).all()
