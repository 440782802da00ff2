"""What a run logs of its own speed and memory."""

import csv
from pathlib import Path

import pytest
from command_line import TINY, mini

from interleave.cli import main
from interleave.compose import compose
from interleave.training import step_times
from interleave.training.step_times import StepTimes


def logged(run: Path) -> list[dict[str, float]]:
    """The rows of a run's metrics that hold speeds."""
    with (run / "metrics/version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    numbers = [{name: float(value) for name, value in row.items() if value} for row in rows]
    return [row for row in numbers if "speed/step_seconds" in row]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """Of a run of six steps of two micro-batches, logged every second step, one step in three measured by parts."""
    run = tmp_path_factory.mktemp("run")
    steps = ["trainer.max_steps=6", "trainer.log_every_n_steps=2", "trainer.accumulate_grad_batches=2"]
    accounting = ["callbacks.accounting.peak_flops=1e9", "callbacks.accounting.split_every=3"]
    assert main(["train", *TINY, *mini(run / "mini"), *steps, *accounting, f"run={run}"]) == 0
    return logged(run)


def test_every_log_step_has_speed_and_memory(rows: list[dict[str, float]]) -> None:
    assert [row["step"] for row in rows] == [1, 3, 5], "counted from 0"
    for row in rows:
        assert 0 <= row["speed/data_wait"] < 1
        assert 0 <= row["speed/padding"] < 1
        assert 0.1 < row["memory/host_gib"] < 20


def test_speeds_are_counts_over_the_same_time(rows: list[dict[str, float]]) -> None:
    """Rows of 1,024 tokens, two a step: what is no padding, a second, times seconds, is a count."""
    for row in rows:
        tokens = row["speed/tokens_per_second"] * row["speed/step_seconds"]
        assert tokens == pytest.approx(2 * 1024 * (1 - row["speed/padding"]), rel=1e-4)
        views = row["speed/views_per_second"] * row["speed/step_seconds"] * 2  # of two steps
        assert views == pytest.approx(round(views), abs=1e-2)
        assert row["speed/views_per_second"] >= row["speed/samples_per_second"] > 0, "the mini data is all visual"


def test_utilisation_is_work_over_what_the_device_could_do(rows: list[dict[str, float]]) -> None:
    """A token of the small model costs about the same in every row, whatever the speed."""
    for name in ("speed/mfu", "speed/mfu_llm"):
        costs = [row[name] / row["speed/tokens_per_second"] for row in rows]
        assert min(costs) > 0
        assert max(costs) < 1.5 * min(costs)
    # by the shapes: 32 wide, one layer, 6 FLOPs a parameter and token; the attention on top
    assert 1e9 * rows[0]["speed/mfu_llm"] / rows[0]["speed/tokens_per_second"] > 6 * (4 * 32 * 32)


def test_a_measured_step_is_split_into_parts(rows: list[dict[str, float]]) -> None:
    split = [row for row in rows if "speed/seconds_llm" in row]
    assert [row["step"] for row in split] == [3, 5], "the values of steps 3 and 6, at the next log steps"
    for row in split:
        parts = [row[f"speed/seconds_{part}"] for part in ("vision", "llm", "head", "backward", "optimizer")]
        assert min(parts) > 0
        assert row["speed/seconds_backward"] < 60


def test_the_device_says_what_it_could_do() -> None:
    assert compose("train", ["device=h100"])["callbacks"]["accounting"]["peak_flops"] == 989e12
    assert compose("train", [])["callbacks"]["accounting"]["peak_flops"] is None, "then no MFU is logged"


def test_an_action_does_not_count_those_inside_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 6.0, 10.0, 13.0])
    monkeypatch.setattr(step_times.time, "perf_counter", lambda: next(clock))
    times = StepTimes()
    times.start("[LightningModule]LitInterleaved.optimizer_step")  # 0 to 6
    times.start("[Strategy]DDPStrategy.training_step")  # 1 to 4
    times.start("[Callback]Accounting.on_train_batch_end")  # of no interest
    times.stop("[Callback]Accounting.on_train_batch_end")
    times.stop("[Strategy]DDPStrategy.training_step")
    times.stop("[LightningModule]LitInterleaved.optimizer_step")
    with times.profile("[_TrainingEpochLoop].train_dataloader_next"):  # 10 to 13
        pass
    assert times.seconds == {"head": 3.0, "optimizer": 3.0, "data": 3.0}
