"""Stages as configs: what learns, how fast, from which weights on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from published import original
from small_models import ROOT, small_config

import interleave as il
from interleave.cli import main
from interleave.compose import compose
from interleave.core.errors import InputError
from interleave.core.types import Example
from interleave.data.build import build_data
from interleave.model.assembly import assemble
from interleave.model.matrix_loss import chunked_loss, torch_loss
from interleave.training.build import build_module, choose_loss_head
from interleave.training.optimizer import freeze, optimizer, parts, schedule
from interleave.training.parallelize import checkpoint_activations
from interleave.training.train import parts_table

STAGES = sorted(p.stem for p in (ROOT / "conf" / "stage").glob("*.yaml"))
EXPECTED: dict[str, dict[str, float | None]] = {
    "align": {"vision_encoder": None, "projector": 1e-3, "llm": None, "newline": None},
    "single_image": {"vision_encoder": None, "projector": 2e-5, "llm": 2e-5, "newline": 2e-5},
    "interleave": {"vision_encoder": None, "projector": 2e-5, "llm": 2e-5, "newline": 2e-5},
    "full": {"vision_encoder": 2e-6, "projector": 1e-5, "llm": 1e-5, "newline": 1e-5},
    "dpo": {"vision_encoder": None, "projector": None, "llm": 5e-7, "newline": 5e-7},
}


def module(stage: str, *overrides: str) -> Any:
    config = compose("train", [f"stage={stage}", *overrides])
    return build_module({**config, **small_config()}, assemble(small_config()).model)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_stage_trains_what_the_paper_says(name: str) -> None:
    lit = module(name)
    for part, rate in EXPECTED[name].items():
        assert lit.stage.rate(part) == rate, part
        assert all(p.requires_grad == (rate is not None) for p in parts(lit.model)[part].values())
    rated = {g["name"].partition("/")[0]: g["lr"] for g in optimizer(lit.model, lit.stage).param_groups}
    assert {k: v for k, v in rated.items() if k != "modality"} == {k: v for k, v in EXPECTED[name].items() if v}


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_builds_and_learns_something(name: str) -> None:
    assert any(p.requires_grad for p in module(name).model.parameters())


def test_the_loss_head_is_chosen_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lit, preferences = module("interleave"), module("dpo")
    for choice, expected in (("auto", chunked_loss), ("torch", torch_loss), ("chunks", chunked_loss)):
        choose_loss_head(compose("train", [f"loss.head={choice}"]), lit)
        assert lit.model.matrix_loss is expected
    choose_loss_head(compose("train", []), preferences)
    with pytest.raises(InputError, match=r"loss.head=torch adds up the losses of all tokens, and stage.dpo needs each"):
        choose_loss_head(compose("train", ["loss.head=torch"]), preferences)
    with pytest.raises(InputError, match=r"loss\.head=liger runs on a GPU alone"):
        choose_loss_head(compose("train", ["loss.head=liger", "trainer=cpu"]), lit)
    with pytest.raises(
        InputError, match=r"loss\.head is 'triton': input should be 'auto', 'chunks', 'torch' or 'liger'"
    ):
        choose_loss_head(compose("train", ["loss.head=triton"]), lit)
    monkeypatch.setattr(lit.model.llm, "head_matrix", lambda: None)
    with pytest.raises(InputError, match=r"loss\.head=chunks needs a head that is a matrix alone"):
        choose_loss_head(compose("train", ["loss.head=chunks"]), lit)


def test_the_newline_follows_the_llm_unless_it_has_a_rate_of_its_own() -> None:
    assert module("interleave", "stage.lr.llm=0.5").stage.rate("newline") == 0.5
    lit = module("interleave", "stage.lr.newline=null")
    assert not lit.model.llm.newline.requires_grad
    assert lit.model.llm.model.model.norm.weight.requires_grad


def test_a_linear_schedule_falls_in_a_straight_line() -> None:
    lit = module("dpo", "stage.lr.llm=1.0")
    freeze(lit.model, lit.stage)
    adamw = optimizer(lit.model, lit.stage)
    rates = schedule(adamw, lit.stage, 100)
    seen = []
    for _ in range(100):
        seen.append(rates.get_last_lr()[0])
        adamw.step()
        rates.step()
    assert seen[10] == pytest.approx(1.0)
    assert seen[55] == pytest.approx(0.5)
    assert seen[5] == pytest.approx(0.5)


def test_the_table_counts_every_parameter_once() -> None:
    lit = module("interleave")
    table = parts_table(lit)
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["vision_encoder", "projector", "llm", "newline", "modality"]
    assert sum(int(str(c).replace(",", "")) for c in cells[1]) == sum(p.numel() for p in lit.model.parameters())
    assert str(cells[2][0]) == "0"
    assert str(cells[3][0]) == "frozen"


@pytest.mark.parametrize("kept", ["true", "selective", "{llm: true}", "{vision_encoder: selective, llm: false}"])
def test_activations_are_checkpointed_where_it_is_asked(kept: str) -> None:
    lit = module("full", f"checkpoint_activations={kept}")
    checkpoint_activations(lit.model, lit.checkpoint_activations)
    wrapped = {
        part
        for part in ("vision_encoder", "llm")
        if any("_checkpoint_wrapped" in n for n, _ in getattr(lit.model, part).named_modules())
    }
    both = {"vision_encoder", "llm"}
    assert wrapped == {"{llm: true}": {"llm"}, "{vision_encoder: selective, llm: false}": {"vision_encoder"}}.get(
        kept, both
    )


def test_an_unknown_tower_is_named() -> None:
    with pytest.raises(il.InputError, match="checkpoint_activations"):
        module("full", "checkpoint_activations={projector: true}")


def test_a_run_starts_from_published_weights_and_chains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """align, then interleave: the second begins with what the first left, and frozen parts are the published ones."""
    source = original(tmp_path / "published")
    small = ["trainer.max_steps=2", "dataset.mini.scenes=3", f"dataset.mini.root={tmp_path}/mini", "logger=none",
             "overrides=[modality.video.num_frames=3]", "callbacks.progress=null"]  # fmt: skip
    assert main(["train", f"init={source}", "stage=align", f"run={tmp_path}/one", *small]) == 0
    before, one = il.load(source, dtype=torch.float32).model.state_dict(), il.load(tmp_path / "one")
    assert one.config["modality"]["video"]["num_frames"] == 3
    changed = {name.partition(".")[0] for name, t in one.model.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {"projector"}
    assert main(["train", f"init={tmp_path}/one", "stage=interleave", f"run={tmp_path}/two", *small]) == 0
    two = il.load(tmp_path / "two").model.state_dict()
    changed = {name.partition(".")[0] for name, t in one.model.state_dict().items() if not torch.equal(t, two[name])}
    assert changed == {"projector", "llm"}
    assert "frozen" in capsys.readouterr().out


def test_labels_and_placement_reach_what_is_trained_on(tmp_path: Path) -> None:
    """The same pictures and words: learned in two ways, and asked with visuals in their places or in front."""
    turns = [{"from": "human", "value": "First <image> then <image>."}, {"from": "gpt", "value": "ok"}]
    records = [{"id": str(i), "image": ["a.png", "b.png"], "conversations": turns} for i in range(8)]
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "r.json").write_text(json.dumps(records))
    files = [f"dataset.llava_json.path={tmp_path}/r.json", f"dataset.llava_json.media={tmp_path}"]

    def examples(*overrides: str) -> list[Example]:
        config = compose("train", ["dataset=[llava_json]", *files, *overrides])
        source = build_data(config, assemble({**config, **small_config()})).train.source
        return [e for e in (source.example("llava_json", i) for i in range(len(records))) if isinstance(e, Example)]

    plain, published = examples()[0], examples("data.labels=published")[0]
    assert (published.labels >= 0).sum() > (plain.labels >= 0).sum()
    first = [int(e.visual_positions[0]) for e in examples("data.placement=front")]
    assert all(at < int(plain.visual_positions[0]) for at in first)
    mixed = [int(e.visual_positions[0]) for e in examples("data.placement=mixed", "data.front=0.5")]
    assert {*mixed} == {int(plain.visual_positions[0]), first[0]}
    assert [int(e.visual_positions[0]) for e in examples("data.placement=mixed", "data.front=0.5")] == mixed
    with pytest.raises(il.InputError, match=r"data\.placement is 'behind'"):
        examples("data.placement=behind")
