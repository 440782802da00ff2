"""``interleave plan``: what it says of models, data, memory and time."""

import json
from pathlib import Path
from typing import Any

import pytest

from interleave.cli import main
from interleave.compose import compose
from interleave.plan.build import build_job

SMALL = ["shape=qwen2_0_5b", "data.sequence_length=1024", "data.max_views=4", "dataset=[]"]
QUICK = ["dataset=[]", "data.sequence_length=256", "data.max_views=2", "plan.tokens=250"]
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
    common = [*QUICK, "device=a100", "device.bandwidth=1.0e12"]
    slow = plan(tmp_path, *common, "device.product_share=0.3", "device.attention_share=0.2")["time"]
    fast = plan(tmp_path, *common, "device.product_share=0.6", "device.attention_share=0.6")["time"]
    assert slow["products"] == pytest.approx(2 * fast["products"])
    assert slow["attention"] == pytest.approx(3 * fast["attention"])
    assert slow["elementwise"] == fast["elementwise"]


def test_the_longest_row_that_fits_fits_and_the_next_does_not(tmp_path: Path) -> None:
    """By rehearsals of these very sizes, within a thousandth."""
    memory = "device.memory_gib=2"
    found = plan(tmp_path, *QUICK, memory)["fits"]
    assert found["data.sequence_length"] > 256
    for name in ("data.sequence_length", "data.max_views"):
        for size, fits in ((found[name], True), (found[name] * 101 // 100, False)):
            whole = sum(plan(tmp_path, *QUICK, memory, f"{name}={size}")["memory"].values())
            assert (whole <= 1.001 * 0.95 * 2 * 2**30) == fits, (name, size)


@pytest.mark.parametrize(("devices", "planned"), [("2", 2), ("[0,1,2]", 3), ("auto", 1), ("-1", 1)])
def test_devices_are_counted(devices: str, planned: int) -> None:
    job, notes = build_job(compose("plan", [f"trainer.devices={devices}"]))
    assert (job.devices, len(notes)) == (planned, int(devices in ("auto", "-1")))


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["device=h10"], "no device named 'h10'; did you mean 'h100'"),
        (["--json", "x"], "interleave plan has no option --json"),
        (["trainer.max_steps=0"], "trainer.max_steps is 0; a plan needs a number above 0"),
        (["trainer.devices=0"], "trainer.devices is 0; a plan needs a number above 0"),
        (["trainer.devices=-3"], "trainer.devices is -3; a plan needs a number above 0"),
        (["trainer.devices=two"], "trainer.devices is 'two'; a plan needs a number above 0"),
        (["trainer.devices=true"], "trainer.devices is True; a plan needs a number above 0"),
        ([*FSDP, "trainer.strategy.replicate=3"], "replicate is 3, which does not divide the 16 devices"),
        ([*FSDP, "trainer.strategy.replicate=0"], "replicate must be at least 1"),
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
