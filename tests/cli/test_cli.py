"""The command line as a user meets it: what composes, what trains, and one line for every mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import TINY, mini
from small_models import ROOT

import interleave as il
from interleave.ablate.sweeps import sweep_overrides
from interleave.cli import main
from interleave.compose import compose


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "llm=quen2"], "no llm named 'quen2'; did you mean 'qwen2' or 'qwen3'? Known: auto"),
        (["train", "modality=[image,vidoe]"], "no modality named 'vidoe'; did you mean 'video'?"),
        (["train", "experiment=quickstrat"], "no experiment named 'quickstrat'; did you mean 'quickstart'?"),
        (["train", "trainr=cpu"], "interleave train has no group or option 'trainr'; did you mean 'trainer'?"),
        (["train", "trainer.max_stepz=3"], "trainer has no option 'max_stepz'; did you mean 'max_steps'?"),
        (["train", "modality.vidoe.frames=3"], "modality has no part 'vidoe'; did you mean 'video'?"),
        (["train", "modality.video.frame=3"], "modality.video has no option 'frame'; did you mean 'num_frames'"),
        (["train", "llm=qwen2", "llm.pth=x"], "llm has no option 'pth'; did you mean 'path'?"),
        (
            ["train", "modality.video.num_frames=many"],
            "modality.video.num_frames is 'many': input should be a valid integer",
        ),
        (
            ["train", "modality.video.reader=avi"],
            "modality.video.reader is 'avi': input should be 'auto', 'pyav', 'torchcodec' or 'decord'",
        ),
        (["train", "modality.video.stride=9"], "stride is 9; it must be from 1 to the 4 tokens a side of a view"),
        (["train", "data.sequence_length=long"], "data.sequence_length is 'long': input should be a valid integer"),
        (["train", "stage.lr.llm=fast"], "stage.lr.llm is 'fast': input should be a valid number"),
        (["train", "trainer.max_steps=-1"], "trainer.max_steps is -1; it must be a number of steps"),
        (["train", "data.sequence_length=[1"], "no viable alternative at input '[1'"),
        (["train", "dataset=llava_json"], "dataset 'llava_json' needs dataset.llava_json.path; it has no default"),
        (["train", "dataset=[]"], "no samples in any data set; choose dataset=[...]"),
        (["train", "modality=[]"], "no modality is chosen; choose modality=[...] of image, multipatch"),
        (["train", "plugins=[./nowhere.py]"], "plugin file ./nowhere.py does not exist"),
        (["train", "trainer._target_=os.system"], "_target_ os.system is not allowed; it must begin with one of"),
        (["train", "trainer.accelerator=abacus"], "lightning.Trainer cannot be made: "),
        (["train", "llm=qwen2"], "llm 'qwen2' needs llm.path, or llm.config with sizes for random weights"),
        (["train", "logger=null"], "Config group override must be a string or a list. Got NoneType"),
        (["train", "resume=nowhere"], "nothing to resume in nowhere: "),
        (["eval"], "model=... is missing; it has no default"),
        (["eval", "model=nowhere"], "nowhere does not exist"),
        (["chat", "nowhere", "hi"], "nowhere does not exist"),
        (["sweep", "quickstrat"], "no sweep named 'quickstrat'; did you mean 'quickstart'?"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERLEAVE_RUN", raising=False)
    extra = mini(tmp_path) if arguments[0] == "train" and not any("dataset" in a for a in arguments) else []
    assert main([arguments[0], *arguments[1:], *extra]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("interleave:")]
    assert len(lines) == 1
    assert lines[0].startswith(f"interleave: {message}")


def test_a_missing_annotation_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"dataset.llava_json.path={tmp_path}/a.json", f"dataset.llava_json.media={tmp_path}"]
    assert main(["train", "dataset=llava_json", *files, f"run={tmp_path}/run"]) == 2
    assert capsys.readouterr().err.strip().endswith("a.json does not exist")
    assert not (tmp_path / "run").exists()


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = "import sys; from interleave.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'transformers', 'hydra'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


def test_lists_choose_parts_and_experiments_choose_lists() -> None:
    config = compose("train", ["modality=[image,video]", "task=[mini]", "modality.video.num_frames=3"])
    assert set(config["modality"]) == {"image", "video"}
    assert config["modality"]["video"]["num_frames"] == 3
    assert set(config["task"]) == {"mini"}
    assert set(compose("train", [])["task"]) == set()
    assert set(compose("train", ["experiment=quickstart"])["task"]) == {"mini"}
    assert set(compose("train", ["experiment=quickstart", "modality=[image]"])["modality"]) == {"image"}
    with pytest.raises(il.InputError, match="modality has no part 'vidoe'; did you mean 'video'"):
        compose("train", ["+modality.vidoe.frames=3"])


def test_every_stage_trainer_logger_and_callback_composes() -> None:
    for group in ("stage", "trainer", "logger", "callbacks"):
        for path in (ROOT / "conf" / group).glob("*.yaml"):
            assert compose("train", [f"{group}={path.stem}"])[group] or path.stem == "none"


@pytest.mark.parametrize(
    "logger", ["logger=csv", "logger=wandb logger.mode=offline", "logger=wandb logger.mode=disabled"]
)
def test_a_run_leaves_what_can_be_resumed_evaluated_and_asked(logger: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [*TINY, *mini(tmp_path / "mini"), *logger.split()]
    assert main(["train", *arguments, f"run={run}"]) == 0
    assert (run / "model.safetensors").exists()
    assert (run / "checkpoints" / "last").resolve().name == "step-2"
    assert yaml.safe_load((run / "config.yaml").read_text())["llm"]["dim"] == 32
    if "csv" in logger:
        assert "train/loss" in (run / "metrics" / "version_0" / "metrics.csv").read_text()
    elif "offline" in logger:
        assert list((run / "wandb").glob("offline-run-*/*.wandb"))
    if "csv" in logger:
        more = ["trainer.max_steps=3", f"resume={run}", f"run={tmp_path / 'more'}"]
        assert main(["train", *arguments, *more]) == 0
        assert torch.load(tmp_path / "more/checkpoints/last/meta.pt", weights_only=True)["global_step"] == 3
        asked = [f"task.mini.root={tmp_path / 'mini'}", "task.mini.scenes=4", "task.mini.control_items=20"]
        assert main(["eval", f"model={run}", "task=mini", *asked, f"out={tmp_path / 'eval'}"]) == 0
        assert "multi_image" in json.loads((tmp_path / "eval/results.json").read_text())["results"]["mini"]["as it is"]
        assert isinstance(il.load(run).chat("hi", max_new_tokens=3), str)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_fsdp_over_two_processes_from_the_command_line(precision: str, tmp_path: Path) -> None:
    """Lightning starts the second process by itself; both find one folder, and what they leave loads on one device."""
    run = tmp_path / "run"
    devices = ["trainer=fsdp", "trainer.accelerator=cpu", "trainer.devices=2", f"trainer.precision={precision}"]
    settings = [
        *TINY,
        *mini(tmp_path / "mini"),
        *devices,
        "checkpoint_activations=true",
        f"run={run}",
        "trainer.val_check_interval=1",
    ]
    environment = {k: v for k, v in os.environ.items() if k != "INTERLEAVE_RUN"} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "interleave.cli", "train"]
    for more in ([], ["trainer.max_steps=3", f"resume={run}"]):
        done = subprocess.run(
            [*command, *settings, *more], capture_output=True, text=True, timeout=240, env=environment, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert isinstance(il.load(run).chat("hi", max_new_tokens=3), str)


def wandb_arguments(sweep: dict[str, Any], chosen: dict[str, Any]) -> list[str]:
    """What wandb's agent puts on the command line, by its own code."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    given = create_sweep_command_args({"args": {k: {"value": v} for k, v in chosen.items()}})
    line = [*sweep["command"]]
    at = line.index("${args_no_hyphens}")
    return [*line[:at], *given["args_no_hyphens"], *line[at + 1 :]]


def test_the_sweep_file_makes_lines_that_the_agent_and_hydra_understand() -> None:
    sweep = yaml.safe_load((ROOT / "conf/sweep/quickstart.yaml").read_text())
    assert sweep["method"] == "grid"
    for last in (0, -1):
        chosen = {k: v["values"][last] for k, v in sweep["parameters"].items()}
        program, command, *overrides = wandb_arguments(sweep, chosen)
        assert (program, command) == ("interleave", "train")
        config = compose("train", overrides)
        assert config["llm"]["layers"] == chosen["llm.layers"]
        assert config["stage"]["lr"]["llm"] == chosen["stage.lr.llm"]
        assert (
            config["stage"]["lr"]["vision_encoder"]
            == compose("train", [f"stage={chosen['stage']}"])["stage"]["lr"]["vision_encoder"]
        )


def test_the_same_search_runs_locally(tmp_path: Path, monkeypatch: Any) -> None:
    overrides = sweep_overrides("quickstart")
    assert overrides[0] == "experiment=quickstart"
    assert "llm.layers=2,3" in overrides
    sweep = tmp_path / "small.yaml"
    sweep.write_text(
        "method: grid\nparameters:\n  llm.layers: {values: [1, 2]}\n  stage: {values: [full, interleave]}\n"
        "command: [interleave, train, '${args_no_hyphens}']\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERLEAVE_RUN", raising=False)
    tiny = [t for t in TINY if "layers=1" not in t or "llm" not in t]
    assert main(["sweep", str(sweep), *tiny, *mini(tmp_path / "mini"), f"hydra.sweep.dir={tmp_path}/jobs"]) == 0
    found = [yaml.safe_load((tmp_path / f"jobs/{i}/config.yaml").read_text()) for i in range(4)]
    searched = {(c["llm"]["layers"], c["stage"]["lr"]["vision_encoder"] is None) for c in found}
    assert searched == {(1, False), (1, True), (2, False), (2, True)}
    assert all((tmp_path / f"jobs/{i}/model.safetensors").exists() for i in range(4))
