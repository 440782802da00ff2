"""What a run leaves: weights in a type and in files of a size, and what all ranks answer with them."""

import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import TINY, mini
from forked_ranks import run_job
from safetensors import safe_open
from safetensors.torch import load_file
from small_models import small_config

import interleave as il
from interleave.checkpoints import save_config
from interleave.cli import main
from interleave.model.assembly import Assembly
from interleave.training import train
from interleave.training.weight_export import ExportOptions, export_weights

WRITES_WHO_ASKED = """
from interleave.evaluation.reply_journal import Journal

append = Journal.append

def append_and_tell(self, rank, replies, seconds):
    append(self, rank, replies, seconds)
    with (self.out / f"asked-by-{rank}.txt").open("a") as file:
        file.writelines(f"{reply.task} {reply.index}\\n" for reply in replies)

Journal.append = append_and_tell
"""
"""A plugin for every process of a run."""


def test_weights_come_back_from_one_file_and_from_several(assembly: Assembly, tmp_path: Path) -> None:
    save_config(tmp_path, small_config())
    expected = {name: tensor.clone() for name, tensor in assembly.model.state_dict().items()}
    for max_bytes, dtype in ((20_000, torch.float32), (10**9, torch.bfloat16), (20_000, torch.float32)):
        export_weights(tmp_path, assembly.model, None, dtype, max_bytes)
        files = sorted(tmp_path.glob("*.safetensors"))
        assert (len(files) == 1) == (max_bytes == 10**9), "those of before are gone"
        assert all(file.stat().st_size < 1.5 * max_bytes or len(load_file(file)) == 1 for file in files)
        assert (tmp_path / "model.safetensors.index.json").exists() == (len(files) > 1)
        found = il.load(tmp_path).model.state_dict()
        assert found.keys() == expected.keys()
        for name, tensor in found.items():
            assert torch.equal(tensor, expected[name].to(dtype)), name
    assert not list(tmp_path.glob(".*"))


def test_a_rank_holds_two_whole_weights_at_most(tmp_path: Path) -> None:
    """Into a single file; the second is being gathered while the first, which is written, is let go."""
    for most, largest in run_job("export_job.py", 2, tmp_path / "out.pt", str(tmp_path / "weights")):
        assert 0 < most <= 2 * largest
        assert most < (tmp_path / "weights/model.safetensors").stat().st_size / 2


def stored(run: Path) -> set[str]:
    with safe_open(run / "model.safetensors", framework="pt") as file:
        return {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118, it is no mapping


def test_a_run_leaves_the_type_that_it_began_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", *TINY, *mini(tmp_path / "mini")]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([*command, f"run={first}", "export.dtype=bfloat16"]) == 0
    assert stored(first) == {"BF16"}
    assert main([*command, f"run={second}", f"init={first}"]) == 0
    assert stored(second) == {"BF16"}
    assert ExportOptions().dtype_after(None, None) == torch.float32
    assert main([*command, f"run={tmp_path / 'third'}", "export.dtype=int8"]) == 2
    assert "export.dtype is 'int8'" in capsys.readouterr().err


def test_nothing_of_the_training_is_in_memory_when_tasks_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[weakref.ref[torch.nn.Module]] = []
    left: list[torch.nn.Module | None] = []
    build, ask = train.build_module, train.evaluate_and_report

    def noted(config: Any, model: Any, *more: Any) -> Any:
        models.append(weakref.ref(model))
        return build(config, model, *more)

    def asked(*arguments: Any) -> Any:
        left.extend(model() for model in models)
        return ask(*arguments)

    monkeypatch.setattr(train, "build_module", noted)
    monkeypatch.setattr(train, "evaluate_and_report", asked)
    task = ["task=mini", f"task.mini.root={tmp_path / 'mini'}", "task.mini.scenes=2", "task.mini.control_items=2"]
    assert main(["train", *TINY, *mini(tmp_path / "mini"), *task, f"run={tmp_path / 'run'}"]) == 0
    assert left == [None]


def test_two_processes_answer_as_one(tmp_path: Path) -> None:
    """At the end of a run they share the items; one process that loads what they left gives the same replies."""
    run, data, watch = tmp_path / "run", tmp_path / "mini", tmp_path / "watch.py"
    watch.write_text(WRITES_WHO_ASKED)
    task = ["task=mini", f"task.mini.root={data}", "task.mini.scenes=4", "task.mini.control_items=8", "eval_batch=4"]
    devices = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true"]
    command = [sys.executable, "-m", "interleave.cli", "train", *TINY, *mini(data), *task, *devices, f"run={run}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command.append(f"plugins=[{watch}]")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("report:") == 1
    first, second = (set((run / f"asked-by-{rank}.txt").read_text().splitlines()) for rank in (0, 1))
    assert not first & second, "both asked the same item"
    assert main(["eval", f"model={run}", *task, f"out={tmp_path / 'alone'}"]) == 0
    by_two, alone = (json.loads((folder / "results.json").read_text()) for folder in (run, tmp_path / "alone"))
    assert by_two["results"] == alone["results"]
    assert by_two["items"] == alone["items"] == len(first | second) > 8
