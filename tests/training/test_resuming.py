"""Checkpoints that a kill cannot break: each takes its name when it is complete, and the newest whole one is found."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import interleave as il
from interleave.core.files import replacing
from interleave.training.resume import AtomicCheckpointIO, is_complete, last_checkpoint


class Interrupted(Exception):
    pass


class _Stops:
    """Writing it is where the process ends."""

    def __reduce__(self) -> Any:
        raise Interrupted


def save(path: Path, value: Any, age: int = 0) -> Path:
    AtomicCheckpointIO().save_checkpoint({"value": value}, path)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def test_writing_that_is_interrupted_leaves_the_one_before(tmp_path: Path) -> None:
    last = save(tmp_path / "checkpoints" / "last.ckpt", 1)
    with pytest.raises(Interrupted):
        AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(100_000), "then": _Stops()}, last)
    assert torch.load(last_checkpoint(tmp_path))["value"] == 1
    save(last, 2)
    assert torch.load(last)["value"] == 2
    assert [p.name for p in last.parent.iterdir()] == ["last.ckpt"]


def test_the_newest_whole_one_is_taken_where_the_last_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "checkpoints"
    last = save(folder / "last.ckpt", 4)
    for step, age in ((1, 30), (2, 20), (3, 10)):
        save(folder / f"step-{step}.ckpt", step, age)
    assert last_checkpoint(tmp_path) == last
    for name in ("last.ckpt", "step-3.ckpt"):
        cut(folder / name)
    with caplog.at_level(logging.WARNING):
        assert last_checkpoint(tmp_path) == folder / "step-2.ckpt"
    assert "last.ckpt cannot be read, its writing was interrupted; going on from step-2.ckpt" in caplog.text
    last.unlink()
    assert last_checkpoint(tmp_path) == folder / "step-2.ckpt"
    with pytest.raises(il.InputError, match=r"step-3\.ckpt is incomplete"):
        last_checkpoint(folder / "step-3.ckpt")


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(il.InputError, match=r"nothing to resume in .*last\.ckpt does not exist"):
        last_checkpoint(tmp_path)
    cut(save(tmp_path / "checkpoints" / "last.ckpt", 1))
    with pytest.raises(il.InputError, match="is incomplete, and there is no other"):
        last_checkpoint(tmp_path)


def test_a_folder_of_shards_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "last.ckpt"
    for number in (1, 2):
        with replacing(target) as part:
            part.mkdir()
            (part / "shard").write_text(str(number))
            assert not is_complete(part)
            for name in (".metadata", "meta.pt"):
                (part / name).write_text("")
        assert is_complete(target)
        assert (target / "shard").read_text() == str(number)
    with suppress(Interrupted), replacing(target) as part:
        part.mkdir()
        raise Interrupted
    assert (target / "shard").read_text() == "2"
    with replacing(target) as part:  # what an interrupted writing left is in nobody's way
        part.write_text("a file now")
    assert target.read_text() == "a file now"
