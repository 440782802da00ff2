"""Batch files for SLURM, and the folder that the processes of a job agree on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import forked_training
import pytest
import torch
from command_line import TINY, mini
from forked_ranks import FORKED
from safetensors.torch import load_file
from small_models import ROOT

from interleave.cli import main
from interleave.compose import compose
from interleave.core.errors import InputError

JOB = {
    "SLURM_JOB_ID": "4242", "SLURM_JOB_NAME": "tiny", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_NNODES": "2", "SLURM_NODELIST": "127.0.0.1", "SLURM_JOB_NODELIST": "127.0.0.1", "OMP_NUM_THREADS": "1",
}  # fmt: skip
"""What SLURM tells the processes of a job of two nodes."""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("WORLD_SIZE", "TORCHELASTIC_RUN_ID", *JOB):
        monkeypatch.delenv(name, raising=False)


def options_in(path: Path) -> dict[str, str]:
    """The options of sbatch in a batch file."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if line.startswith("#SBATCH --"):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            found[name] = value
    return found


def test_the_file_asks_for_what_the_config_needs(capsys: pytest.CaptureFixture[str]) -> None:
    ours = ["trainer=fsdp", "trainer.devices=8", "trainer.num_nodes=4", "data.num_workers=6", "run=runs/a b"]
    told = ["--sbatch", "time=1:00:00", "--sbatch", "exclusive", "--sbatch", "requeue=", "--sbatch", "signal=USR1@9"]
    assert main(["launch", "slurm", ours[0], *told, *ours[1:], "--setup", "module load cuda"]) == 0
    path = Path("runs/a b/train.sbatch")
    assert str(path) in capsys.readouterr().out
    options = options_in(path)
    assert options["nodes"] == "4"
    assert options["ntasks-per-node"] == options["gpus-per-node"] == "8"
    assert options["cpus-per-task"] == "8", "six workers, the step and the thread that prepares batches"
    assert (options["time"], options["exclusive"], options["signal"]) == ("1:00:00", "", "USR1@9")
    assert "\nmodule load cuda\nsrun " in path.read_text()
    assert path.read_text().endswith("'run=runs/a b'\n")


def test_the_folder_is_fixed_when_the_file_is_written() -> None:
    """Queued again, the job must find its checkpoints."""
    assert main(["launch", "slurm", "trainer.devices=1", "--out", "job.sh"]) == 0
    (run,) = Path("runs/train").iterdir()
    assert f" run={run}\n" in Path("job.sh").read_text()


def test_without_gpus_none_are_asked_for() -> None:
    assert main(["launch", "slurm", "trainer.accelerator=cpu", "trainer.devices=2", "--out", "job.sh"]) == 0
    assert "gpus-per-node" not in options_in(Path("job.sh"))


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["trainer=fsdp"], "trainer.devices is 'auto'"),
        (["trainer=fsd"], "no trainer named 'fsd'"),
        (["trainer.devices=1", "--submit"], "there is no sbatch on this machine"),
    ],
)
def test_a_mistake_shows_before_the_queue(
    overrides: list[str], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert main(["launch", "slurm", *overrides]) == 2
    assert line in capsys.readouterr().err


def test_the_file_is_submitted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bin").mkdir()
    for name, code in {
        "sbatch": 'echo "Submitted batch job 7: $1"',
        "failing": "echo no such partition >&2; exit 1",
    }.items():
        Path("bin", name).write_text(f"#!/bin/bash\n{code}\n")
        Path("bin", name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path.cwd() / 'bin'}:{os.environ['PATH']}")
    assert main(["launch", "slurm", "trainer.devices=1", "run=runs/x", "--submit"]) == 0
    assert capsys.readouterr().out == "Submitted batch job 7: runs/x/train.sbatch\n"
    Path("bin/failing").replace("bin/sbatch")
    assert main(["launch", "slurm", "trainer.devices=1", "run=runs/x", "--submit"]) == 2
    assert "no such partition" in capsys.readouterr().err


def test_a_job_of_two_nodes_trains_one_model(tmp_path: Path) -> None:
    """The batch file, run by a stand-in for srun that starts both nodes' processes here."""
    chosen = [*TINY, *mini(tmp_path / "mini"), "dataset=[mini]", "trainer=fsdp", "trainer.precision=32-true"]
    cluster = ["trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2", "run=runs/two"]
    assert main(["launch", "slurm", *chosen, *cluster]) == 0
    Path("bin").mkdir()
    Path("bin/srun").symlink_to(ROOT / "tests/support/srun")
    environment = {**os.environ, **JOB, "PATH": f"{Path.cwd() / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "runs/two/train.sbatch"], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("model:") == 1, "one of the two processes speaks"
    weights = load_file("runs/two/model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert isinstance(weights["llm.newline"], torch.Tensor)


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "77"}, "job-77"),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "8"}, "job-8"),
    ],
)
def test_processes_of_a_job_agree_on_a_folder(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert compose("train", [])["run"] == f"runs/train/{folder}"


def test_processes_that_cannot_agree_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")  # what torchrun says without --rdzv-id
    with pytest.raises(InputError, match=r"^several processes train together .* give run="):
        compose("train", [])
    assert compose("train", ["run=runs/mine"])["run"] == "runs/mine"


def test_a_launcher_of_hydra_runs_jobs_in_processes_of_their_own(tmp_path: Path) -> None:
    """They unpickle the job and know no plugin yet. ``submitit_slurm`` does the same with a queue in between."""
    chosen = [*TINY, *mini(tmp_path / "mini"), "hydra/launcher=submitit_local", "hydra.sweep.dir=sweep", "seed=0,1"]
    command = [sys.executable, "-m", "interleave.cli", "train", "--multirun", *chosen]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(Path("sweep", job, "model.safetensors").is_file() for job in "01")


def task(rank: int, variables: dict[str, str], arguments: list[str], errors: Path) -> None:
    """Be one of the two processes of a job of SLURM, which write into ``errors`` together."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os.environ |= JOB | variables | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0"}
    forked_training.train(arguments)


def test_a_job_at_its_time_limit_is_queued_again_and_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """SIGUSR1 comes to its processes, and a stand-in for scontrol ends them by SIGTERM, as SLURM does. Then SIGTERM
    comes alone."""
    chosen = [*TINY, *mini(tmp_path / "mini"), "dataset=[mini]", "trainer=fsdp", "trainer.precision=32-true"]
    chosen += ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=20", "evaluate.tasks=[]"]
    chosen += ["callbacks.checkpoint.every_n_steps=3", "callbacks.checkpoint.keep=9"]
    scontrol = tmp_path / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/bash\ncd {tmp_path}\necho "$@" >> told\nkill -TERM $(cat pids)\n')
    scontrol.chmod(0o755)
    variables = {"SLURM_NNODES": "1", "SLURM_NTASKS_PER_NODE": "2", "PATH": f"{scontrol.parent}:{os.environ['PATH']}"}

    def job(name: str) -> list[ForkServerProcess]:
        arguments = [*chosen, f"run={tmp_path / name}"]
        tasks = [FORKED.Process(target=task, args=(rank, variables, arguments, tmp_path / "errors")) for rank in (0, 1)]
        for process in tasks:
            process.start()
        return tasks

    def codes(tasks: list[ForkServerProcess]) -> list[int | None]:
        for process in tasks:
            process.join(120)
        return [process.exitcode for process in tasks]

    assert codes(job("whole")) == [0, 0]

    def after(step: int, tasks: list[ForkServerProcess]) -> int:
        """Wait for a checkpoint after ``step``, the newest of which is returned."""
        while True:
            alive = tasks[0].is_alive()
            steps = [int(p.name.removeprefix("step-")) for p in (tmp_path / "cut/checkpoints").glob("step-*")]
            if max(steps, default=0) > step:
                return max(steps)
            assert alive
            time.sleep(0.01)

    cut = job("cut")
    (tmp_path / "pids").write_text(" ".join(str(process.pid) for process in cut))
    after(0, cut)
    for process in cut:
        os.kill(process.pid or 0, signal.SIGUSR1)
    assert codes(cut) == [-signal.SIGTERM] * 2
    assert (tmp_path / "told").read_text() == "requeue 4242\n", "once, by one of the two"
    cut_again = job("cut")
    after(after(0, cut_again), cut_again)
    for process in cut_again:
        os.kill(process.pid or 0, signal.SIGTERM)
    assert codes(cut_again) == [-signal.SIGTERM] * 2, "also where nothing was said before"
    said = (tmp_path / "errors").read_text()
    assert all(f"rank {rank} is ended by SIGTERM; the same command goes on\n" in said for rank in (0, 1)), said[-3000:]
    assert not (tmp_path / "cut/model.safetensors").exists()
    assert codes(job("cut")) == [0, 0]
    found, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("cut", "whole"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
