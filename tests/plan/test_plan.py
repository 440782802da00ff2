"""``interleave plan``: what it says of models, data, memory and time."""

import json
from pathlib import Path
from typing import Any

import pytest

from interleave.cli import main

SMALL = ["shape=qwen2_0_5b", "data.sequence_length=1024", "data.max_views=4", "dataset.mini.root=/absent/nowhere"]
FSDP = ["trainer=fsdp", "trainer.devices=8", "trainer.num_nodes=2"]


def plan(tmp_path: Path, *overrides: str) -> dict[str, Any]:
    """All numbers of a plan."""
    out = tmp_path / "plan.json"
    assert main(["plan", *overrides, f"plan.json={out}"]) == 0
    numbers: dict[str, Any] = json.loads(out.read_text())
    return numbers


def test_a_plan_of_the_quickstart_looks_at_its_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = plan(
        tmp_path, "experiment=quickstart", "device=cpu", f"dataset.mini.root={tmp_path}", "dataset.mini.scenes=6"
    )
    assert numbers["parameters"]["llm"] == {"all": 386016, "trained": 386016}
    (seen,) = numbers["sources"].values()
    assert 0 < numbers["batch"]["quantities"]["supervised"] < numbers["batch"]["quantities"]["tokens"] <= 3 * 1024
    assert seen["draws"] > 0
    assert numbers["memory"]["optimizer"] == 2 * 4 * 515008
    assert numbers["fits"]["data.sequence_length"] > 1024
    shown = capsys.readouterr().out
    assert "bound by" in shown
    assert max(len(line) for line in shown.splitlines() if not line.startswith("note")) <= 80


def test_a_real_size_is_planned_from_its_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = plan(tmp_path, *SMALL, "stage=interleave", "device=h100", "trainer=gpu")
    assert 450e6 < whole["parameters"]["llm"]["all"] < 500e6
    assert whole["parameters"]["vision_encoder"]["trained"] == 0, "frozen"
    shared = plan(tmp_path, *SMALL, "stage=interleave", *FSDP)
    replicas = plan(tmp_path, *SMALL, "stage=interleave", *FSDP, "trainer.strategy.replicate=2")
    frozen = plan(tmp_path, *SMALL, "stage=interleave", *FSDP, "trainer.strategy.frozen=replicate")
    assert whole["memory"]["optimizer"] == pytest.approx(16 * shared["memory"]["optimizer"])
    assert replicas["memory"]["optimizer"] == pytest.approx(2 * shared["memory"]["optimizer"])
    vision = whole["parameters"]["vision_encoder"]["all"]
    assert frozen["memory"]["weights"] - shared["memory"]["weights"] == pytest.approx((2 - 4 / 16) * vision)
    assert whole["memory"]["gathered"] == 0 < shared["memory"]["gathered"]


def test_a_faster_device_takes_less_time(tmp_path: Path) -> None:
    times = []
    for share in (0.3, 0.6):
        numbers = plan(tmp_path, *SMALL, "device=a100", "trainer=gpu", f"device.product_share={share}")
        times.append(numbers["time"]["products"])
    assert times[0] == pytest.approx(2 * times[1])


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["device=h10"], "no device named 'h10'; did you mean 'h100'"),
        (["--json", "x"], "interleave plan has no option --json"),
        (["trainer.max_steps=0"], "trainer.max_steps is 0; a plan needs a number above 0"),
        (["trainer.devices=0"], "trainer.devices is 0; a plan needs a number above 0"),
        (
            ["trainer=fsdp", "trainer.devices=2", "trainer.strategy.offload=true"],
            "does not know trainer.strategy.offload=true",
        ),
        (["plan.sample=3"], "plan has no option 'sample'; did you mean 'samples'?"),
    ],
)
def test_mistakes_get_one_line(overrides: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *overrides]) == 2
    assert line in capsys.readouterr().err
