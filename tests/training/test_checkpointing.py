"""What a run writes while it goes on: when, what stays, and what becomes of it in another number of processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_job import CUT, STEPS, checkpoints_in, run
from command_line import TINY, mini
from forked_ranks import run_job
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file
from small_models import ROOT

from interleave.cli import main
from interleave.core.errors import InputError
from interleave.training import checkpoint_files
from interleave.training.checkpointing import Checkpoints

Weights = dict[str, torch.Tensor]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests/support")}


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "checkpoints").iterdir()}


def equal(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.5) -> None:
    """Let every writing take its time before it looks at the tensors."""
    write = checkpoint_files.write_tensors

    def later(*arguments: Any) -> None:
        time.sleep(seconds)
        write(*arguments)

    monkeypatch.setattr(checkpoint_files, "write_tensors", later)


def test_what_a_thread_writes_is_the_step_at_which_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training changes its weights meanwhile."""
    whole = run("one", Checkpoints(str(tmp_path / "whole/checkpoints"), asynchronous=False))
    slow(monkeypatch)
    run("one", Checkpoints(str(tmp_path / "cut/checkpoints"), every_n_steps=2, keep=9))
    assert names(tmp_path / "cut") == {"step-2", "step-4", "step-6", "last"}
    for step in (2, 4):
        resume = tmp_path / f"cut/checkpoints/step-{step}"
        equal(run("one", Checkpoints(str(tmp_path / f"more{step}/checkpoints")), resume=resume), whole)


def test_the_training_waits_only_for_the_writing_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch, 1.5)
    seen: list[tuple[int, set[str]]] = []

    class Looks(Checkpoints):
        def on_train_batch_end(self, trainer: Trainer, *more: Any) -> None:
            super().on_train_batch_end(trainer, *more)
            if self.folder.is_dir():
                seen.append((trainer.global_step, names(self.folder.parent)))

    run("one", Looks(str(tmp_path / "checkpoints"), every_n_steps=2))
    assert seen[:3] == [
        (2, {".step-2.part"}),
        (3, {".step-2.part"}),
        (4, {"step-2", "last", ".step-4.part"}),
    ]
    assert names(tmp_path) == {"step-6", "last"}, "one copy, and the newest alone"


def test_minutes_by_the_clock(tmp_path: Path) -> None:
    run("one", Checkpoints(str(tmp_path / "checkpoints"), every_n_steps=None, every_minutes=1e-9, keep=2))
    assert names(tmp_path) == {"step-4", "step-6", "last"}, "what rank 0 says is known a step later"
    for wrong in ({"keep": 0}, {"every_n_steps": 0}, {"every_minutes": 0.0}):
        with pytest.raises(ValueError, match="must be at least 1, every_minutes more than 0"):
            Checkpoints("checkpoints", **wrong)  # type: ignore[arg-type]


def test_a_job_that_will_end_is_saved_at_the_end_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/told\nls {tmp_path}/checkpoints > {tmp_path}/there\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")

    class Ends(Checkpoints):
        def on_train_batch_start(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
            if trainer.global_step == 2:
                signal.raise_signal(signal.SIGUSR1)

    before = signal.getsignal(signal.SIGUSR1)
    try:
        run("one", Ends(str(tmp_path / "checkpoints"), every_n_steps=None, keep=9))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert names(tmp_path) == {"step-4", "step-6", "last"}
    assert (tmp_path / "told").read_text() == "requeue 7\n"
    assert "step-4" in (tmp_path / "there").read_text(), "it is complete before the job is queued again"


def test_what_cannot_be_written_ends_the_run_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the next checkpoint at the latest; the one before stays."""

    def full(self: Any, *_: Any) -> None:
        raise OSError("No space left on device")

    class Fills(Callback):
        def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
            if trainer.global_step == 3:
                for _ in range(3000):  # until the thread has written step 2
                    if names(tmp_path) == {"step-2", "last"}:
                        break
                    time.sleep(0.01)
                monkeypatch.setattr(checkpoint_files.FileSystemWriter, "write_data", full)

    monkeypatch.setattr("checkpoint_job.StopAt", lambda until: Fills())
    with pytest.raises(InputError, match=r"step-4\.part cannot be written: No space left on device"):
        run("one", checkpoints_in(tmp_path))
    assert names(tmp_path) == {"step-2", "last"}


HELD = """
import sys, time
from pathlib import Path
from interleave.cli import main
from interleave.training import checkpoint_files

write = checkpoint_files.write_tensors

def hold(folder, share, group):
    write(folder, share, group)
    if folder.name == ".step-3.part":
        (folder / ".metadata").unlink()  # as if the last file were missing
        Path(sys.argv[1]).touch()
        time.sleep(600)

checkpoint_files.write_tensors = hold
main(sys.argv[2:])
"""


def test_killed_while_a_thread_writes(tmp_path: Path) -> None:
    command = ["train", *TINY, *mini(tmp_path / "mini"), "trainer.max_steps=4", "callbacks.checkpoint.every_n_steps=1"]
    assert main([*command, f"run={tmp_path / 'whole'}"]) == 0
    cut, held = tmp_path / "cut", tmp_path / "held"
    process = subprocess.Popen([sys.executable, "-c", HELD, str(held), *command, f"run={cut}"], env=ENVIRONMENT)
    while not held.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert names(cut) == {".step-3.part", "step-2", "last"}
    assert main([*command, f"run={cut}"]) == 0
    equal(load_file(cut / "model.safetensors"), load_file(tmp_path / "whole" / "model.safetensors"))
    assert names(cut) == {"step-4", "last"}


def several(count: int, job: str, folder: Path) -> Any:
    """What ``count`` processes hold after a job of ``checkpoint_job``."""
    return run_job("checkpoint_job.py", count, folder / f"{job}.pt", str(folder), options=(job,))


def test_ranks_write_the_same_bytes_whether_they_wait_or_go_on(tmp_path: Path) -> None:
    several(2, "both", tmp_path)
    waited, went_on = (tmp_path / way / "checkpoints" for way in ("waits", "goes-on"))
    for step in (2, 4, 6):
        one, other = (
            {path.name: path.read_bytes() for path in (folder / f"step-{step}").iterdir() if path.name != ".metadata"}
            for folder in (waited, went_on)
        )  # the index names its own folder
        assert sum(name.endswith(".distcp") for name in one) == 2, "one of each rank"
        assert one == other


def test_any_number_of_processes_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    """Two ranks under FSDP2, then under DDP, then four under FSDP2; and one by itself."""
    wrote = several(2, "change", tmp_path)
    for name, tensor in wrote["more"].items():
        torch.testing.assert_close(
            tensor, wrote["whole"][name], rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
    data = [path for path in (tmp_path / "more/checkpoints/last").glob("*.distcp") if path.stat().st_size > 1000]
    assert len(data) == 2, "ranks that hold the same share the writing"
    equal(several(4, "read", tmp_path)["read"], wrote["more"])
    last = tmp_path / "more/checkpoints/last"
    equal(run("one", checkpoints_in(tmp_path / "one"), STEPS, last, tmp_path / "by-1"), wrote["more"])
    by_one, by_four = ({p.name: p.read_bytes() for p in (tmp_path / f"by-{n}").iterdir()} for n in (1, 4))
    assert by_one == by_four, "ranks write the same files together"
    assert len(by_one) > 4
    alone = run("one", checkpoints_in(tmp_path / "alone"), CUT + 1, tmp_path / "cut/checkpoints/last")
    assert alone["optimizer.llm.newline.step"] == CUT + 1
