"""What each command may import: errors apart from tensors, inference apart from training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_models import small_config

import interleave as il
from interleave.checkpoints import LAYOUTS
from interleave.cli import COMMANDS
from interleave.evaluation.evaluate import evaluate
from interleave.export import convert_command
from interleave.inference.lm import LM
from interleave.model.assembly import Assembly

TENSORS = {"torch", "torchvision", "transformers", "lightning", "timm", "wandb"}
RUN = "from interleave.cli import main\ntry:\n    main({0!r})\nexcept SystemExit:\n    pass"
LIGHT: dict[str, tuple[str, set[str]]] = {
    "import interleave": ("import interleave", TENSORS | {"hydra", "numpy", "matplotlib"}),
    "interleave.load": ("import interleave; interleave.load", {"lightning", "hydra", "wandb", "timm"}),
    "--help": (RUN.format(["--help"]), TENSORS | {"hydra", "numpy"}),
    "an unknown part": (RUN.format(["train", "projector=mpl"]), TENSORS),
    "an unknown option": (RUN.format(["train", "modality.video.frame=3"]), TENSORS),
    "a missing setting": (RUN.format(["eval"]), TENSORS),
    "plugins list": (RUN.format(["plugins", "list"]), TENSORS | {"hydra"}),
    "chat without a model": (RUN.format(["chat"]), TENSORS | {"hydra"}),
    **{f"{name} --help": (RUN.format([name, "--help"]), TENSORS) for name in COMMANDS},
}
"""What runs -> packages that it must not import."""


def imported_by(code: str, cwd: Path) -> set[str]:
    told = f"{code}\nimport sys; print('IMPORTED', *sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, cwd=cwd, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("what", LIGHT)
def test_a_command_imports_no_more_than_it_needs(what: str, tmp_path: Path) -> None:
    code, forbidden = LIGHT[what]
    assert not imported_by(code, tmp_path) & forbidden


def test_scores_and_reports_need_no_tensors(assembly: Assembly, tmp_path: Path) -> None:
    """On files of a run, to their end: with pictures of the items, which a task plugin opens."""
    node = {"name": "mini", "root": str(tmp_path / "mini"), "scenes": 2, "scenarios": ["single_image"], "controls": []}
    run = tmp_path / "run"
    evaluate(LM(assembly, small_config()), {"mini": il.tasks.build(node)}, run)
    content = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps({**content, "tasks": {"mini": node}}))
    score = ["score", str(run / "replies.jsonl"), "--out", str(tmp_path / "scores")]
    for arguments in (score, ["report", str(run)]):
        code = f"from interleave.cli import main\nassert main({arguments!r}) == 0"
        assert not imported_by(code, tmp_path) & TENSORS
    assert "data:image/png" in (run / "report.html").read_text()


def test_the_layouts_that_help_names_are_those_that_there_are() -> None:
    assert set(convert_command.LAYOUT_NAMES) == set(LAYOUTS)
