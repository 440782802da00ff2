"""A stranger's plugin: one file without a YAML, or an installed package with its own configs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import interleave as il
from interleave import testing
from interleave.cli import main
from interleave.compose import compose

PLUGIN = '''
import numpy as np
from interleave import ModalityAdapter, VisionSpec, Visual, load_image, modalities

@modalities.register("depth_in_a_test")
class Depth(ModalityAdapter):
    """far: the depth that becomes white."""

    def __init__(self, vision: VisionSpec, far: float = 10.0) -> None:
        super().__init__(vision)
        self.far = far

    def prepare(self, data: np.ndarray) -> Visual:
        grey = (np.clip(data / self.far, 0, 1) * 255).astype(np.uint8)
        return Visual("depth_in_a_test", self.views([load_image(np.stack([grey] * 3, -1))]), [self.vision.grid**2])

    def example(self) -> np.ndarray:
        return np.linspace(0, 12, 20 * 30).reshape(20, 30)
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "depth.py"
    path.write_text(PLUGIN)
    yield path
    il.modalities.forget("depth_in_a_test")
    sys.modules.pop("interleave_plugin_depth", None)


def test_a_file_needs_no_yaml(plugin: Path) -> None:
    chosen = ["modality=[image,depth_in_a_test]", "modality.depth_in_a_test.far=20"]
    config = compose("train", [f"plugins=[{plugin}]", *chosen])
    assert config["modality"]["depth_in_a_test"] == {"name": "depth_in_a_test", "far": 20}
    assert config["plugins"] == [str(plugin)]
    with pytest.raises(il.InputError, match="no option 'fur'; did you mean 'far'"):
        compose("train", [f"plugins=[{plugin}]", "modality=[depth_in_a_test]", "modality.depth_in_a_test.fur=20"])
    testing.check("modality", {"name": "depth_in_a_test"}, config)


def test_a_run_remembers_its_plugins(plugin: Path, tmp_path: Path) -> None:
    small = ["llm.dim=32", "llm.layers=1", "trainer.max_steps=1", "callbacks=default", "callbacks.progress=null"]
    data = [f"dataset.mini.root={tmp_path}/mini", "dataset.mini.scenes=2", "data.sequence_length=1024"]
    parts = [f"plugins=[{plugin}]", "modality=[image,video,multipatch,scene3d,depth_in_a_test]"]
    assert main(["train", *parts, *small, *data, "logger=none", f"run={tmp_path}/run"]) == 0
    il.modalities.forget("depth_in_a_test")
    sys.modules.pop("interleave_plugin_depth")
    lm = il.load(tmp_path / "run")
    depth = lm.adapters["depth_in_a_test"].example()
    assert isinstance(lm.chat([il.Message("user", [il.Media("depth_in_a_test", depth), "?"])], max_new_tokens=2), str)


def test_an_installed_package_brings_its_own_configs(tmp_path: Path) -> None:
    package, info = tmp_path / "stranger", tmp_path / "stranger-1.dist-info"
    for folder in (package / "conf" / "modality", package / "conf" / "experiment", info):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "conf" / "__init__.py").touch()
    (package / "depth.py").write_text(PLUGIN)
    node = "# @package modality.depth_in_a_test\nname: depth_in_a_test\nfar: 7\n"
    (package / "conf/modality/depth_in_a_test.yaml").write_text(node)
    experiment = "# @package _global_\ndefaults:\n  - override /modality: [image, depth_in_a_test]\nname: strange\n"
    (package / "conf/experiment/strange.yaml").write_text(experiment)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[interleave.plugins]\nstranger = stranger\n")
    code = (
        "from interleave.compose import compose; c = compose('train', ['experiment=strange']); "
        "assert c['name'] == 'strange'; "
        "assert c['modality']['depth_in_a_test'] == {'name': 'depth_in_a_test', 'far': 7}, c['modality']; "
        "assert set(c['modality']) == {'image', 'depth_in_a_test'}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
