"""The last line that training prints is a command that works as printed, wherever the program lies."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from command_line import TINY, mini

from interleave.cli import main
from interleave.training.train import program


def test_the_last_line_of_a_run_works_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # as in an environment that was never activated
    # nothing is asked of the tiny model but that it is found and says something
    asked = [f"task.mini.root={tmp_path}/mini", "task.mini.scenes=4", "task.mini.scenarios=[single_image]"]
    arguments = [*TINY, *mini(tmp_path / "mini"), "task=[mini]", *asked, "task.mini.controls=[]"]
    assert main(["train", *arguments, "trainer.max_steps=1", f"run={tmp_path}/run"]) == 0
    label, _, line = capsys.readouterr().out.rstrip().splitlines()[-1].partition(":")
    assert label == "chat"
    command = shlex.split(line)
    assert command[1:3] == ["-m", "interleave.cli"], "this Python, since the program is not on PATH"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--max-new-tokens", "2"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_program_is_named_as_shortly_as_it_can_be_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/somewhere/{name}")
    assert program() == ["interleave"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    monkeypatch.chdir(tmp_path)
    assert program() == ["bin/python", "-m", "interleave.cli"]
