"""Tasks during training: asked every so many steps, logged everywhere, and without a trace in what is learned."""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from periodic_job import STEPS, Shades, train
from PIL import Image
from small_models import ROOT

import interleave as il
from interleave.cli import main
from interleave.model.assembly import Assembly
from interleave.training.evaluation_callback import TABLE_COLUMNS, Period, PeriodicEvaluation


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return train("one", 1, None)


def equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """To the last bit."""
    assert one["losses"] == other["losses"]
    assert one["modes"] == other["modes"]
    assert one["weights"].keys() == other["weights"].keys()
    assert all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])
    assert torch.equal(one["random"], other["random"])


def test_training_is_the_same_to_the_last_bit(alone: dict[str, Any]) -> None:
    watched = train("one", 1, 2)
    assert len(watched["asked"]) == STEPS // 2
    assert [index for index, _ in watched["asked"][0]] == list(range(7))
    assert watched["asked"][0] != watched["asked"][-1], "the model that is asked has learned"
    equal(alone, watched)
    assert len(alone["losses"]) == STEPS


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_ranks_share_the_items_and_train_on(strategy: str, tmp_path: Path) -> None:
    """The third run asks a single item, so that one rank has none."""
    command = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(ROOT / "tests/support/periodic_job.py"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests/support")}
    done = subprocess.run(
        [sys.executable, *command, strategy, str(tmp_path / "out.pt")],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    without, watched, few = torch.load(tmp_path / "out.pt", weights_only=False)
    assert [len(run["asked"]) for run in (without, watched, few)] == [0, STEPS // 2, STEPS // 3]
    assert all([index for index, _ in asked] == list(range(7)) for asked in watched["asked"])
    assert [text for _, text in watched["asked"][0]].count(None) == 1, "of the picture that cannot be read"
    assert all(len(asked) == 1 for asked in few["asked"])
    equal(without, watched)
    equal(without, few)


def test_what_is_logged_can_be_read_again(tmp_path: Path, monkeypatch: Any) -> None:
    """An offline run keeps its tables, with the pictures in them, in a folder for what is to be sent."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    loggers = [CSVLogger(tmp_path, name="metrics"), WandbLogger(save_dir=tmp_path, offline=True, project="test")]
    asked = train("one", 1, 3, logger=loggers, log_every_n_steps=5)["asked"]
    wandb.finish()
    with (tmp_path / "metrics/version_0/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/shades"]]
    replies = [[text for _, text in asking if text is not None] for asking in asked]
    assert [float(row["val/shades"]) for row in rows] == [
        pytest.approx(sum(map(len, texts)) / len(texts)) for texts in replies
    ]
    assert [(int(row["step"]), float(row["val/shades_items"])) for row in rows] == [(2, 6), (5, 6)]
    staged = [path.read_bytes() for path in (tmp_path / "data/artifacts/staging").iterdir()]
    files = {hashlib.sha256(content).hexdigest(): content for content in staged}
    found_tables = [json.loads(content) for content in staged if content.startswith(b'{"_type": "table"')]
    tables = {table["data"][0][0]: table for table in found_tables}
    for table, asking in zip([tables[step] for step in sorted(tables)], asked, strict=True):
        assert table["columns"] == TABLE_COLUMNS
        found = {int(row[1]): dict(zip(TABLE_COLUMNS, row, strict=True)) for row in table["data"]}
        assert {index: row["reply"] for index, row in found.items()} == dict(asking)
        assert found[3]["prompt"] == "xxx<image>?"
        assert found[3]["answer"] == "grey"
        assert json.loads(found[3]["scores"]) == {"length": float(len(str(found[3]["reply"])))}
        assert found[2]["pictures"] is None
        with Image.open(io.BytesIO(files[found[3]["pictures"]["sha256"]])) as picture:
            assert picture.getpixel((9, 9)) == (90, 90, 90), "what the model was fed"


def test_a_run_with_tasks_in_between(tmp_path: Path) -> None:
    small = [
        "llm.dim=32", "llm.layers=1", "vision_encoder.dim=16", "vision_encoder.layers=1", "vision_encoder.heads=2",
        "trainer.max_steps=4", "callbacks.progress=null", "data.sequence_length=1024", "data.max_views=64",
        f"dataset.mini.root={tmp_path}", "dataset.mini.scenes=4", "task=[mini]", f"task.mini.root={tmp_path}",
        "task.mini.scenes=4", "task.mini.controls=[]", f"run={tmp_path / 'run'}",
    ]  # fmt: skip
    assert main(["train", *small, "evaluate.every=2", "evaluate.items=3", "evaluate.tasks=[mini]"]) == 0
    with (tmp_path / "run/metrics/version_0/metrics.csv").open() as file:
        assert sum(bool(row["val/mini"]) for row in csv.DictReader(file)) == 2
    assert json.loads((tmp_path / "run/results.json").read_text())["audit"]["mini"]["all"]["complete"] is True


def test_mistakes(assembly: Assembly, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(il.InputError, match=r"evaluate.tasks names 'shadse'; chosen are task=\[shades\]"):
        PeriodicEvaluation(Period(every=1, tasks=["shadse"]), {"shades": Shades()}, assembly)
    with pytest.raises(il.InputError, match=r"evaluate.every is 1, but no task is chosen"):
        PeriodicEvaluation(Period(every=1), {}, assembly)
    assert main(["train", "evaluate.every=0", f"dataset.mini.root={tmp_path}", "dataset.mini.scenes=4"]) == 2
    assert "evaluate is {" in capsys.readouterr().err
