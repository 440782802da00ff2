"""Ablations: what their files say, what is run, and the tables that come out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_models import ROOT

from interleave.ablate.ablate_command import run_ablation
from interleave.ablate.ablation import FOLDER, Ablation, Arm, read_ablation
from interleave.ablate.runs import Runs
from interleave.ablate.tables import spread, write_tables
from interleave.cli import main
from interleave.compose import compose
from interleave.core.errors import InputError

NAMES = sorted(p.stem for p in FOLDER.glob("*.yaml"))
SMALL = ["trainer.max_steps=2", "dataset.mini.scenes=5", "data.cache=false"]
GIVEN = {"base": ["init=x", "dataset.m4_instruct.root=r"], "single_image": ["init=x"], "align": []}
FILES = ["dataset.llava_json.path=a.json", "dataset.llava_json.media=pictures"]


@pytest.mark.parametrize("path", sorted((ROOT / "conf/experiment/paper").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_full_size_experiment_is_ready_to_launch(path: Path) -> None:
    needed = GIVEN.get(path.stem, GIVEN["base"]) + (FILES if path.stem in ("single_image", "align") else [])
    config = compose("train", [f"experiment=paper/{path.stem}", *needed])
    assert config["trainer"]["strategy"]["_target_"] == "interleave.training.parallelize.FSDP2Strategy"
    assert config["data"]["labels"] == "published"
    if path.stem not in GIVEN:
        assert config["name"] == f"paper_{path.stem}"
        assert list(config["dataset"]) == ["m4_instruct"]


@pytest.mark.parametrize("left", ["init", "dataset.m4_instruct.root"])
def test_a_full_size_experiment_says_what_it_must_be_given(left: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [o for o in GIVEN["base"] if not o.startswith(left)]
    assert main(["train", "experiment=paper/position_mixed", *given]) == 2
    assert left.rpartition(".")[2] in capsys.readouterr().err


def test_the_small_ablations_are_the_papers_four() -> None:
    assert {"start", "position", "joint", "transfer", "frames"} == set(NAMES)
    for name in NAMES:
        ablation = read_ablation(name)
        for arm in ablation.arms.values():
            assert (ROOT / "conf/experiment" / f"{arm.experiment}.yaml").is_file()


def test_budgets_of_the_frames_are_equal_in_pairs() -> None:
    tokens = {}
    for arm in read_ablation("frames").arms.values():
        video = compose("train", [f"experiment={arm.experiment}"])["modality"]["video"]
        tokens[arm.experiment] = video["num_frames"] * (4 // video["stride"]) ** 2
    assert sorted(tokens.values()) == [16, 16, 32, 32]


def test_an_ablation_trains_asks_and_draws_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = yaml.safe_load((FOLDER / "start.yaml").read_text())
    node["arms"].pop("initial weights")
    node["asked"] = {"in front": ["placement=front"]}
    node["task"] += ["generation={max_new_tokens:2}", "task.mini.scenarios=[single_image]"]
    node["columns"] = ["single_image"]
    folder = tmp_path / "ablation"
    folder.mkdir()
    (folder / "short.yaml").write_text(yaml.safe_dump(node))
    monkeypatch.setattr("interleave.ablate.ablation.FOLDER", folder)
    arguments = ["ablate", "short", *SMALL, f"dataset.mini.root={tmp_path}/data", "--seeds", "3"]
    assert main([*arguments, "--out", f"{tmp_path}/out", "--jobs", "1"]) == 0
    text = (tmp_path / "out/ablations.md").read_text()
    assert "| single-image model | " in text
    content = json.loads((tmp_path / "out/ablations.json").read_text())
    assert content["seeds"] == [3]
    assert [(r["arm"], r["asked"]) for r in content["short"]] == [("single-image model", "in front")]
    begun = yaml.safe_load((tmp_path / "out/short/single-image-model-3/config.yaml").read_text())
    assert begun["init"] == f"{tmp_path}/out/short/before-3"
    assert begun["seed"] == 3
    assert (tmp_path / "out/short.png").stat().st_size > 1000

    def again(*arguments: Any) -> None:
        raise AssertionError("what is there is not done again")

    monkeypatch.setattr(Runs, "_call", again)
    assert main([*arguments, "--out", f"{tmp_path}/out", "--jobs", "1"]) == 0


def test_a_run_that_fails_says_where_its_output_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "frames", "--out", str(tmp_path), "--seeds", "0", "--jobs", "1", "trainer.max_step=1"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    log = tmp_path / "frames/8-frames-of-4-tokens-0/train.log"
    assert said == f"interleave: interleave train failed with 2; {log} has its output"
    assert "max_step" in log.read_text()


class Known(Runs):
    """Answers without training: the seed decides."""

    def train(self, run: Path, experiment: str, seed: int, more: Sequence[str] = ()) -> Path:
        return run

    def ask(self, run: Path, name: str, task: Sequence[str], how: Sequence[str]) -> dict[str, Any]:
        seed = int(run.name.rpartition("-")[2])
        return {"all": {"accuracy": 0.5 + 0.1 * seed, "n": 7}}


def test_the_spread_is_that_of_the_seeds(tmp_path: Path) -> None:
    ablation = Ablation("one", {"a": Arm("x"), "b": Arm("y")}, (), ("all",))
    rows = run_ablation(ablation, Known(tmp_path, [], 1), [0, 1, 2], 2)
    assert [row.scores["all"] for row in rows] == [[50, 60, 70]] * 2
    assert spread(rows[0].scores["all"]) == "60.0 ± 10.0"
    write_tables(tmp_path, {"one": ablation}, {"one": rows}, [0, 1, 2])
    assert "| a | 60.0 ± 10.0 |" in (tmp_path / "ablations.md").read_text()
    with pytest.raises(InputError, match="no group 'none'; they have all"):
        run_ablation(Ablation("one", {"a": Arm("x")}, (), ("none",)), Known(tmp_path, [], 1), [0], 1)


def test_what_is_wrong_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "positoin"]) == 2
    assert "did you mean 'position'" in capsys.readouterr().err
    assert main(["ablate", "--jobs", "0"]) == 2
    assert "--jobs is 0" in capsys.readouterr().err
