"""What ``interleave bench`` prints was computed: same losses, same replies, same results, exponents of known curves.

Never times: another machine has others.
"""

import json
from pathlib import Path

import pytest
import torch

from interleave.bench import gpu_steps, kernel_peers, rank_growth
from interleave.bench.bench_command import BENCHMARKS, run_benchmarks
from interleave.bench.bench_table import BenchTable
from interleave.bench.effort import Effort
from interleave.bench.gpu_steps import GPUCase, measure_case
from interleave.bench.growth import growth_table
from interleave.bench.stopwatch import alternate, growth_exponent
from interleave.cli import main
from interleave.compose import compose

TINY = Effort("tiny", rounds=1, samples=6, sizes=2, tokens=256)


def measured(name: str, folder: Path) -> list[BenchTable]:
    return run_benchmarks([name], TINY, folder)


def numbers(text: str) -> list[float]:
    return [float(word.strip(".")) for word in text.split() if word[0].isdigit()]


def test_training_begins_with_the_same_loss_and_packs_fuller_rows(tmp_path: Path) -> None:
    (table,) = measured("training", tmp_path)
    ours, theirs = numbers(table.note)
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert table.rows[0][0] == "ours, packed"
    assert all(0 < float(row[1]) <= 1 and float(row[2]) > 0 for row in table.rows)
    assert table.rows[0][3] == 1.0


def test_loss_heads_agree(tmp_path: Path) -> None:
    (table,) = measured("loss", tmp_path)
    losses = [float(row[1]) for row in table.rows]
    assert len(losses) >= 3
    assert losses == pytest.approx([losses[0]] * len(losses), abs=1e-4)


def test_attentions_agree(tmp_path: Path) -> None:
    (table,) = measured("attention", tmp_path)
    assert len(table.rows) == 3
    assert all(float(row[1]) < 1e-4 for row in table.rows)
    assert sum(kernel_peers.document_lengths(1000)) == 1000


def test_replies_are_those_of_transformers(tmp_path: Path) -> None:
    (table,) = measured("generation", tmp_path)
    assert [row[1] for row in table.rows] == ["1 of 1", "1 of 1", "8 of 8", "8 of 8"]


@pytest.mark.parametrize("name", ["input", "start"])
def test_a_rate_is_printed_for_every_way(name: str, tmp_path: Path) -> None:
    (table,) = measured(name, tmp_path)
    assert len(table.rows) >= 2
    assert all(float(row[1]) > 0 for row in table.rows)


def test_growth_has_every_size_and_an_exponent(tmp_path: Path) -> None:
    tables = measured("growth", tmp_path)
    assert len(tables) == 4
    assert [row[0] for row in tables[1].rows] == ["128", "256"]
    assert all(table.note.startswith("exponent ") for table in tables)


def test_exponents_are_those_of_known_curves() -> None:
    assert growth_exponent({n: 0.3 * n**1.5 for n in (10, 100, 1000)}) == pytest.approx(1.5)
    assert growth_exponent({1: 2.0, 7: 2.0}) == pytest.approx(0)
    assert growth_table("x", "y", {2: 4.0, 4: 16.0}).note == "exponent 2.00"


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    seconds = alternate({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2)  # type: ignore[misc]
    assert calls == list("ababab")
    assert set(seconds) == {"a", "b"}


def test_steps_of_runs_are_the_difference_of_a_long_and_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are not started here, but each of them composes."""
    started: list[int] = []

    def seconds(overrides: list[str], folder: Path) -> float:
        config = compose("train", overrides)
        started.append(config["trainer"]["devices"])
        return 7.0 + 0.5 * config["trainer"]["max_steps"]

    monkeypatch.setattr(rank_growth, "run_seconds", seconds)
    ranks, records = measured("ranks", tmp_path)
    assert ranks.rows == [["1", 0.5, 2.0]]
    assert [row[0] for row in records.rows] == ["1,000", "10,000"]
    assert started == [1, 1, 1, 1]
    assert compose("train", rank_growth.rank_overrides(tmp_path, 4, 3))["trainer"]["strategy"] == "ddp"


@pytest.mark.parametrize("trained", [False, True])
def test_a_step_of_the_gpu_table_is_counted_on_a_cpu_too(trained: bool) -> None:
    row = measure_case(GPUCase("tiny", 512, trained, compiled=False), "cpu", rounds=1)
    assert row[0] == f"tiny, 512, {'trained' if trained else 'frozen'}, eager"
    seconds, rate, done, alone = (float(cell) for cell in row[1:5])
    real = rate * seconds
    assert 208 <= real <= 512
    assert real % 208 == pytest.approx(0, abs=1e-3) or real % 208 == pytest.approx(208, abs=1e-3)
    assert done > 0
    assert alone > 0


def test_out_of_memory_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> list[float]:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(gpu_steps, "_measured_step", full)
    assert measure_case(GPUCase("tiny", 512, False, False), "cpu", 1)[1] == "out of memory"


@pytest.mark.skipif(torch.cuda.is_available(), reason="measures for minutes where there is a GPU")
def test_without_a_gpu_the_table_says_so(tmp_path: Path) -> None:
    (table,) = measured("gpu", tmp_path)
    assert not table.rows
    assert "no GPU" in table.note


def test_files_have_what_was_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = measured("attention", tmp_path / "new")
    content = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert content["tables"][0]["rows"] == [list(row) for row in tables[0].rows]
    assert content["machine"]["torch"] == torch.__version__.split("+")[0] or content["machine"]["torch"]
    assert tables[0].title in (tmp_path / "new" / "bench.md").read_text()
    assert "documents" in capsys.readouterr().out


def test_an_unknown_benchmark_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "trainning"]) == 2
    assert "there is no benchmark 'trainning'; did you mean 'training'" in capsys.readouterr().err
    assert set(BENCHMARKS) >= {
        "training",
        "loss",
        "attention",
        "input",
        "generation",
        "start",
        "growth",
        "ranks",
        "gpu",
    }
