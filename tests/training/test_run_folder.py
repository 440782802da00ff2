"""A run's folder is that run's: the same command goes on, another one is refused, and nothing from outside is read."""

import shutil
from pathlib import Path

import pytest
import torch
from command_line import TINY, mini
from safetensors.torch import load_file

from interleave.cli import main


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A finished run of two steps, and the command that made it, without ``run``."""
    folder = tmp_path_factory.mktemp("whole")
    command = ["train", *TINY, *mini(folder / "mini")]
    assert main([*command, f"run={folder / 'run'}"]) == 0
    return folder / "run", command


@pytest.fixture
def run(whole: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy of it, as the same command with this ``run=`` would have left it."""
    shutil.copytree(whole[0], tmp_path / "run")
    for name in ("config.yaml", "composed.yaml"):
        text = (tmp_path / "run" / name).read_text()
        (tmp_path / "run" / name).write_text(text.replace(str(whole[0]), str(tmp_path / "run")))
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def steps(run: Path) -> int:
    return int(torch.load(run / "checkpoints" / "last" / "meta.pt", weights_only=True)["global_step"])


def test_the_same_command_again_goes_on_from_the_newest_checkpoint(whole: tuple[Path, list[str]], run: Path) -> None:
    before = load_file(run / "model.safetensors")
    (run / "model.safetensors").unlink()  # as if it had been killed at the end
    assert main([*whole[1], f"run={run}"]) == 0
    after = load_file(run / "model.safetensors")
    assert steps(run) == 2
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_another_config_is_refused_and_the_folder_stays_as_it_is(
    whole: tuple[Path, list[str]], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run)
    assert main([*whole[1], f"run={run}", "data.max_views=65"]) == 2
    line = capsys.readouterr().err
    assert "holds a run with another config (data.max_views was 64 and is 65)" in line
    for way in (f"resume={run} goes on", "overwrite=true begins anew", f"init={run} with another run="):
        assert way in line
    assert contents(run) == before


def test_resume_goes_on_in_the_folder_with_new_settings(whole: tuple[Path, list[str]], run: Path) -> None:
    assert main([*whole[1], f"run={run}", f"resume={run}", "trainer.max_steps=3"]) == 0
    assert steps(run) == 3
    assert main([*whole[1], f"run={run}", "trainer.max_steps=3"]) == 0, "they are the run's settings now"


def test_overwrite_begins_anew(whole: tuple[Path, list[str]], run: Path) -> None:
    (run / "notes.txt").write_text("mine")
    (run / "checkpoints" / "step-99").mkdir()
    assert main([*whole[1], f"run={run}", "overwrite=true", "trainer.max_steps=1"]) == 0
    assert steps(run) == 1
    assert not (run / "checkpoints" / "step-99").exists()
    assert (run / "notes.txt").read_text() == "mine"


def test_what_is_wrong_is_found_before_anything_is_removed(
    whole: tuple[Path, list[str]], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run)
    for wrong, line in (
        (["overwrite=true", "data.sequence_length=long"], "data.sequence_length is 'long'"),
        (["overwrite=true", f"resume={run}"], "resume and overwrite=true contradict each other"),
        (["overwrite=true", "trainer.accelerator=abacus"], "cannot be made"),
    ):
        assert main([*whole[1], f"run={run}", *wrong]) == 2
        assert line in capsys.readouterr().err
    assert contents(run) == before


def test_a_checkpoint_of_another_run_does_not_go_on_in_this_one(
    whole: tuple[Path, list[str]], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*whole[1], f"run={run}", f"resume={whole[0]}"]) == 2
    assert f"{run} holds another run than {whole[0]}" in capsys.readouterr().err


def test_a_finished_run_without_checkpoints_is_not_trained_again(
    whole: tuple[Path, list[str]], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "checkpoints")
    assert main([*whole[1], f"run={run}"]) == 2
    assert "finished and without a checkpoint to go on from" in capsys.readouterr().err


def test_a_job_of_slurm_reads_no_checkpoint_from_the_working_directory(
    whole: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There Lightning goes on from hpc_ckpt_*.ckpt of its root folder, which is the run's."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("SLURM_NTASKS", "1"), ("SLURM_JOB_NAME", "train"), ("SLURM_JOB_ID", "7")):
        monkeypatch.setenv(name, value)
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"of another run")
    assert main([*whole[1], f"run={tmp_path / 'run'}"]) == 0
    trained, expected = load_file(tmp_path / "run/model.safetensors"), load_file(whole[0] / "model.safetensors")
    assert all(torch.equal(trained[name], expected[name]) for name in expected)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "hpc_ckpt_1.ckpt"}
