"""``debug=profile`` leaves a trace and a page, of the steps that were asked for."""

import json
from pathlib import Path

import pytest
from command_line import TINY, mini

from interleave.cli import main


def test_a_profile_names_the_parts_and_what_takes_time(tmp_path: Path) -> None:
    steps = ["trainer.max_steps=4", "callbacks.profile.skip=1", "callbacks.profile.steps=2"]
    run = tmp_path / "run"
    assert main(["train", "debug=profile", *TINY, *mini(tmp_path / "mini"), *steps, f"run={run}"]) == 0
    events = json.loads((run / "profile/trace.json").read_text())["traceEvents"]
    named = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert all(named.count(part) == 2 for part in ("vision_encoder", "projector", "llm")), "once a recorded step"
    page = (run / "profile/summary.md").read_text()
    assert page.startswith("# 2 micro-batches on CPU")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| aten::")]
    shares = [float(row[4].strip(" %")) for row in rows]
    assert 5 <= len(rows) <= 15
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 101, "of all operations"


def test_a_run_that_is_too_short_to_be_recorded_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "debug=profile", *TINY, *mini(tmp_path / "mini"), f"run={tmp_path / 'run'}"]) == 2
    assert "records micro-batches 5 to 7, and the run has 2" in capsys.readouterr().err
