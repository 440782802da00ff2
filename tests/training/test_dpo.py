"""Preference pairs: one unit in a row, the loss of TRL, references that are computed once."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import small_config
from torch import Tensor

import interleave as il
from interleave.cli import main
from interleave.compose import compose
from interleave.core.types import IGNORE, Example
from interleave.data.build import build_data
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource, Rendering
from interleave.model.assembly import Assembly, assemble
from interleave.processing.collate import collate, one_per_row
from interleave.training.dpo import DPO, preference_loss, sigmoid_loss
from interleave.training.references import References, pair_batches, references_of


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "prompt": f"Question {number}?",
        "chosen": f"good {number}",
        "rejected": "bad " * number,
    } | changes


@pytest.fixture
def media(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "clip/0", "clip/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def written(media: Path, *records: Mapping[str, Any]) -> Path:
    (media / "pairs.json").write_text(json.dumps(records))
    return media / "pairs.json"


RECORDS = [
    record(1, image="a.png"),
    record(2, video="clip"),
    record(3, image=["a.png", "b.png"], prompt="<image> or <image>?"),
    record(
        4,
        conversations=[{"from": "human", "value": "<image>\nHow?"}, {"from": "gpt", "value": "x"}],
        image="b.png",
        prompt=None,
    ),
    record(5),
]


def examples(assembly: Assembly, media: Path, **rendering: Any) -> list[Example]:
    dataset = il.datasets.build({"name": "preference_json", "path": str(written(media, *RECORDS)), "media": str(media)})
    source = ExampleSource(
        {"p": dataset}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision, Rendering(**rendering)
    )
    return [source.render(dataset[i]) for i in range(len(dataset))]


def test_a_pair_is_two_documents_side_by_side_that_do_not_see_each_other(assembly: Assembly, media: Path) -> None:
    pairs = examples(assembly, media)
    length = sum(len(e.input_ids) for e in pairs)
    batch = collate([pairs[:2], pairs[2:]], length, assembly.vision)
    assert batch.pairs.tolist() == [[0, 1], [0, 3], [1, 1], [1, 3], [1, 5]]
    sums, counts = assembly.model.document_losses(batch)
    for (row, column), example in zip(batch.pairs.tolist(), pairs, strict=True):
        n = example.documents[0]
        for offset, span in enumerate((slice(0, n), slice(n, None))):
            alone = Example(example.input_ids[span], example.labels[span], torch.zeros(0, dtype=torch.long), [])
            assert counts[row, column + offset] == (alone.labels != IGNORE).sum()
        single = assembly.model.document_losses(one_per_row([example], assembly.vision))[0]
        torch.testing.assert_close(sums[row, column : column + 2], single[0, 1:], rtol=1e-5, atol=1e-5)


def test_log_probabilities_are_those_of_plain_logits(assembly: Assembly, media: Path) -> None:
    batch = one_per_row(examples(assembly, media), assembly.vision)
    sums, _ = assembly.model.document_losses(batch)
    logits = assembly.model(batch).log_softmax(-1)[:, :-1]
    targets = batch.labels[:, 1:]
    token = logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0] * (targets != IGNORE)
    for document in (1, 2):
        expected = -(token * (batch.document_ids[:, 1:] == document)).sum(1)
        torch.testing.assert_close(sums[:, document], expected, rtol=1e-5, atol=1e-5)


def of_trl(chosen: Tensor, rejected: Tensor, reference: Tensor, beta: float) -> float:
    """TRL's trainer computes its own loss from our log-probabilities; the model in it only hands them over."""
    from trl import DPOTrainer

    trainer: Any = MagicMock()
    trainer.model.training, trainer.aux_loss_enabled, trainer.ld_alpha = True, False, None
    trainer.precompute_ref_logps, trainer.beta, trainer.label_smoothing = True, beta, 0.0
    trainer.f_divergence_type, trainer.loss_types, trainer.loss_weights = "reverse_kl", ["sigmoid"], [1.0]
    trainer.use_weighting = False
    given = torch.cat([chosen, rejected])[:, None]
    entropy = torch.zeros_like(given)
    outputs = SimpleNamespace(log_probs=given, entropy=entropy, mean_logits=entropy, is_top1=entropy.bool())
    inputs = {
        "input_ids": torch.ones(len(given), 2, dtype=torch.long),
        "attention_mask": torch.ones(len(given), 2, dtype=torch.long),
        "completion_mask": torch.ones(len(given), 2, dtype=torch.long),
        "ref_chosen_logps": reference[:, 0],
        "ref_rejected_logps": reference[:, 1],
    }
    trainer.accelerator.gather_for_metrics = lambda x: x
    trainer.accelerator.gather = lambda x: x
    trainer.accelerator.device = torch.device("cpu")
    return float(DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False))


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_the_loss_is_that_of_trl(beta: float) -> None:
    torch.manual_seed(0)
    chosen, rejected, reference = -torch.rand(6) * 50, -torch.rand(6) * 50, -torch.rand(6, 2) * 50
    losses, margins = sigmoid_loss(chosen, rejected, reference, beta)
    assert float(losses.mean()) == pytest.approx(of_trl(chosen, rejected, reference, beta), abs=1e-6)
    assert ((losses < np.log(2)) == (margins > 0)).all()


def test_a_model_that_has_not_moved_is_undecided_and_sft_adds_the_mean_token_loss(
    assembly: Assembly, media: Path
) -> None:
    pairs = examples(assembly, media)
    sums, counts = assembly.model.document_losses(one_per_row(pairs, assembly.vision))
    known = [(-float(c), -float(r)) for _, c, r in sums.tolist()]
    pairs = [Example(**{**vars(e), "reference": k}) for e, k in zip(pairs, known, strict=True)]
    batch = one_per_row(pairs, assembly.vision)
    plain = preference_loss(assembly.model, batch, DPO())
    assert float(plain.loss / plain.pairs) == pytest.approx(np.log(2), abs=1e-5)
    assert (float(plain.count), float(plain.pairs)) == (5, 5)
    mixed = preference_loss(assembly.model, batch, DPO(sft=0.5))
    expected = 0.5 * float((sums[:, 1] / counts[:, 1]).sum())
    assert float(mixed.loss - plain.loss) == pytest.approx(expected, rel=1e-5)


def test_ordinary_conversations_count_like_a_pair(assembly: Assembly, media: Path) -> None:
    pairs = examples(assembly, media)[:2]
    plain = ExampleSource({}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision).render(
        il.Sample([il.Message("user", ["hi"]), il.Message("assistant", ["hello there"])])
    )
    with_it = preference_loss(assembly.model, collate([[*pairs, plain]], 900, assembly.vision), DPO())
    without = preference_loss(assembly.model, collate([pairs], 900, assembly.vision), DPO())
    sums, counts = assembly.model.document_losses(one_per_row([plain], assembly.vision))
    assert with_it.count == without.count + 1 == 3
    assert float(with_it.loss - without.loss) == pytest.approx(float(sums[0, 1] / counts[0, 1]), rel=1e-4)


def pairs_data(assembly: Assembly, media: Path, **data: Any) -> tuple[InterleavedData, dict[str, Any]]:
    """The data of the pairs, in rows of 700 tokens."""
    path = written(media, *RECORDS)
    sources = [f"dataset.preference_json.path={path}", f"dataset.preference_json.media={media}"]
    options = [f"data.{name}={value}" for name, value in {"sequence_length": 700, "batch_size": 2, **data}.items()]
    config = {**compose("train", ["dataset=[preference_json]", *sources, *options]), **small_config()}
    return build_data(config, assembly), config


def test_references_are_computed_once_for_a_set_of_weights(assembly: Assembly, media: Path, tmp_path: Path) -> None:
    model, vision = assembly.model.eval(), assembly.vision

    def compute(**options: Any) -> tuple[int, References]:
        data, config = pairs_data(assembly, media, **options)
        references = references_of(tmp_path / "cache", model, {}, data, config)
        references.read()
        batches = pair_batches(data.train, "train", references.names)
        return references.compute(batches, model, vision, data.train.budget.sequence_length), references

    (count, first), (none, again) = compute(), compute()
    assert (count, none) == (5, 0)
    pairs = examples(assembly, media)
    assert [again(e) for e in pairs] == [first(e) for e in pairs]
    for pair in pairs:
        sums, _ = model.document_losses(one_per_row([pair], vision))
        assert first(pair) == pytest.approx([-float(x) for x in sums[0, 1:]], rel=1e-4)
    with first.path.open("a") as file:
        file.write('\n["train/preference_json[9]", "half')
    assert compute()[0] == 0, "a line that a killed run left by half is passed over"
    published, _ = compute(labels="published")
    assert published == 5, "other labels are another content"
    with torch.no_grad():
        model.llm.newline += 1
    assert compute()[1].path != first.path


def test_two_ranks_find_the_references_that_one_finds(media: Path, tmp_path: Path) -> None:
    """Each asks the sharded model for its share, three pairs and two, and both run it equally often."""
    torch.manual_seed(0)
    il.LM(assemble(small_config()), small_config()).save(tmp_path / "start")
    arguments = [
        "train", f"init={tmp_path}/start", "stage=dpo", "dataset=[preference_json]", "data.batch_size=1", "logger=none",
        f"dataset.preference_json.path={written(media, *RECORDS)}", f"dataset.preference_json.media={media}",
        "trainer.max_steps=1", "callbacks.progress=null", "data.sequence_length=600", "evaluate.every=null",
    ]  # fmt: skip
    two = ["trainer=fsdp", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.devices=2"]
    done = subprocess.run(
        [sys.executable, "-m", "interleave.cli", *arguments, *two, f"run={tmp_path}/two",
         f"stage.dpo.cache={tmp_path}/b"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert main([*arguments, f"run={tmp_path}/one", f"stage.dpo.cache={tmp_path}/a"]) == 0
    (one,), (other,) = (list((tmp_path / name).glob("*.jsonl")) for name in "ab")
    assert one.name == other.name
    found, expected = References(other), References(one)
    found.read()
    expected.read()
    assert found.names == expected.names
    assert len(found.names) == 5
    for key, values in expected.known.items():
        assert found.known[key] == pytest.approx(values, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chosen": None}, "no text in 'chosen'"),
        ({"rejected": " "}, "no text in 'rejected'"),
        ({"chosen": "same", "rejected": "same"}, "prefers nothing"),
        ({"prompt": None}, "neither question, prompt nor conversations"),
        ({"image": ["a.png", "b.png"], "prompt": "<image>?"}, "1 <image> placeholders for 2"),
    ],
)
def test_broken_pairs_say_what_is_wrong(changes: dict[str, Any], said: str, media: Path) -> None:
    path = written(media, record(1, **changes))
    dataset = il.datasets.build({"name": "preference_json", "path": str(path), "media": str(media)})
    with pytest.raises(il.BadSample, match=said):
        _ = dataset[0]


def test_a_run_prefers_what_was_preferred_and_uses_its_references_again(
    media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    config = small_config()
    il.LM(assemble(config), config).save(tmp_path / "start")
    path = written(media, *RECORDS, record(6, chosen=""))
    arguments = [
        "train", f"init={tmp_path}/start", "stage=dpo", "dataset=[preference_json]", "stage.dpo.sft=0.1",
        f"dataset.preference_json.path={path}", f"dataset.preference_json.media={media}", "stage.lr.llm=0.003",
        "trainer.max_steps=12", "trainer.log_every_n_steps=1", "callbacks.progress=null", "data.batch_size=2",
        f"stage.dpo.cache={tmp_path}/cache",
    ]  # fmt: skip
    assert main([*arguments, f"run={tmp_path}/run"]) == 0
    said = capsys.readouterr()
    assert "references: 5 computed" in said.err
    assert "1 sample lost: 1 no reply" in said.out
    with (tmp_path / "run/metrics/version_0/metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dpo/margin"]]
    assert float(rows[0]["dpo/margin"]) == pytest.approx(0, abs=1e-4)
    assert float(rows[-1]["dpo/margin"]) > 0.1
    assert float(rows[-1]["dpo/accuracy"]) == 1
    assert main([*arguments, f"run={tmp_path}/again"]) == 0
    assert "references: 0 computed" in capsys.readouterr().err
    before, after = il.load(tmp_path / "start").model.state_dict(), il.load(tmp_path / "run").model.state_dict()
    assert {n.partition(".")[0] for n, t in after.items() if not torch.equal(t, before[n])} == {"llm"}
