"""Checkpoints that a kill cannot break: each takes its name when it is complete, and the newest whole one is found."""

import os
import pickle
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

import interleave as il
from interleave.core.files import replacing
from interleave.training import checkpoint_files
from interleave.training.resume import is_complete, last_checkpoint


class Interrupted(Exception):
    pass


def checkpoint(run: Path, step: int, age: int = 0) -> Path:
    """A folder that looks like a checkpoint, written ``age`` seconds ago."""
    folder = run / "checkpoints" / f"step-{step}"
    folder.mkdir(parents=True)
    for name in (".metadata", "meta.pt"):
        (folder / name).write_text("")
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    return folder


def small(value: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A layer whose weights are all ``value``, and an optimiser that has taken a step with them."""
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW([{"params": list(layer.parameters()), "name": "all"}], lr=1e-3)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(value)
            optimizer.state[parameter]["exp_avg"].fill_(value)
    return layer, optimizer


def write(folder: Path, value: float) -> Path:
    layer, optimizer = small(value)
    tensors = checkpoint_files.model_tensors(layer) | checkpoint_files.optimizer_tensors(layer, optimizer)
    checkpoint_files.write_tensors(folder, tensors, None)
    return folder


def test_the_newest_whole_one_is_taken(tmp_path: Path) -> None:
    for step, age in ((9, 40), (1, 30), (2, 20), (3, 10)):  # 9 was written before the run went back to 1
        checkpoint(tmp_path, step, age)
    folder = tmp_path / "checkpoints"
    assert last_checkpoint(tmp_path) == folder / "step-3"
    (folder / "last").symlink_to("step-2")
    assert last_checkpoint(folder / "last") == folder / "step-2"
    (folder / "step-3" / ".metadata").unlink()
    assert last_checkpoint(tmp_path) == folder / "step-2"
    with pytest.raises(il.InputError, match="step-3 is incomplete; name the run's folder instead"):
        last_checkpoint(folder / "step-3")


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(il.InputError, match=r"nothing to resume in .*: there is no complete checkpoint in "):
        last_checkpoint(tmp_path)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "step-1"
    for number in (1, 2):
        with replacing(target) as part:
            part.mkdir()
            (part / "shard").write_text(str(number))
            assert not is_complete(part)
        assert (target / "shard").read_text() == str(number)
    with suppress(Interrupted), replacing(target) as part:
        part.mkdir()
        raise Interrupted
    assert (target / "shard").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"], "what was begun is removed"
    with replacing(target) as part:
        part.write_text("a file now")
    assert target.read_text() == "a file now"


def test_tensors_come_back_into_model_and_optimiser(tmp_path: Path) -> None:
    folder = write(tmp_path / "step-1", 7.0)
    layer, optimizer = small(1.0)
    optimizer.state.clear()  # as in a run that was just started
    checkpoint_files.read_tensors(folder, layer, optimizer)
    for parameter in layer.parameters():
        assert bool((parameter == 7).all())
        assert bool((optimizer.state[parameter]["exp_avg"] == 7).all())
        assert optimizer.state[parameter]["step"] == 1
        assert parameter.grad is None


def test_a_model_that_does_not_fit_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "step-1", 1.0)
    for model, message in (
        (nn.Linear(3, 4), r"holds model.weight of shape \(2, 3\), this run's is \(4, 3\)"),
        (nn.Sequential(nn.Linear(3, 2)), r"holds no model\.0\.weight, which this run has"),
    ):
        with pytest.raises(il.InputError, match=message):
            checkpoint_files.read_tensors(folder, model, torch.optim.AdamW(model.parameters()))


class _Runs:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_of_someone_else_runs_no_code(tmp_path: Path) -> None:
    folder = write(tmp_path / "step-1", 1.0)
    layer, optimizer = small(1.0)
    good = (folder / ".metadata").read_bytes()
    (folder / ".metadata").write_bytes(pickle.dumps(_Runs(tmp_path / "ran")))
    with pytest.raises(il.InputError, match=r"it holds posix\.mkdir, which is no part of an index"):
        checkpoint_files.read_tensors(folder, layer, optimizer)
    metadata = pickle.loads(good)
    metadata.state_dict_metadata["model.weight"] = torch.distributed.checkpoint.metadata.BytesStorageMetadata()
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(il.InputError, match=r"model\.weight is no tensor, and was not read"):
        checkpoint_files.read_tensors(folder, layer, optimizer)
    assert not (tmp_path / "ran").exists()
