"""Killed at any moment, a run goes on from its checkpoint and ends with the same bits: twenty trials.

Each run is the command line in a process of its own, on real photographs, documents and clips. It saves at every step,
so that many kills fall into the writing of a checkpoint.
"""

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from forked_training import train
from safetensors.torch import load_file

from interleave.training.resume import last_checkpoint

TRIALS, STEPS = 20, 12
SOURCES = ("annotations", "videos", "broken")
PARTS = [
    "vision_encoder=tiny",
    "vision_encoder.size=32",
    "vision_encoder.dim=16",
    "vision_encoder.layers=1",
    "llm=tiny",
    "llm.dim=32",
    "llm.layers=1",
    "modality.video.num_frames=4",
    "stage=small",
    "data.sequence_length=640",
    "data.max_views=32",
    "data.lookahead=1.5",
    "data.over_length=truncate_text",
    "data.cache=true",
    f"trainer.max_steps={STEPS}",
    "callbacks.progress=null",
    "callbacks.checkpoint.every_n_steps=1",
    "trainer.log_every_n_steps=1",
]

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["forked_training"])
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the server that processes are forked from knows no other way


def start(shared: Path, run: Path, *more: str) -> Any:
    """A training process on three sources of real records, one of which is nearly all broken."""
    data = ["~dataset.mini"]
    for name in SOURCES:
        node = f"{{name:llava_json,path:{shared}/data/m4_real_mini/{name}.json,media:{shared}/media}}"
        data.append(f"+dataset.{name}={node}")
    process = FORKED.Process(target=train, args=([*PARTS, *data, f"run={run}", *more],))
    process.start()
    return process


def finish(process: Any) -> None:
    process.join(600)
    process.kill()
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def whole(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run that is never stopped, and how many seconds a step took it."""
    run = tmp_path_factory.mktemp("whole")
    process = start(shared, run)
    wait_for_step(run, 1, process)
    begun = time.monotonic()
    finish(process)
    return run, (time.monotonic() - begun) / STEPS


def wait_for_step(run: Path, step: int, process: Any) -> None:
    while not any(int(path.name.split("-")[1]) >= step for path in run.glob("checkpoints/step-*")):
        assert process.exitcode is None
        time.sleep(0.002)


@pytest.mark.parametrize("trial", range(TRIALS))
def test_a_killed_run_ends_with_the_same_bits(
    trial: int, whole: tuple[Path, float], shared: Path, tmp_path: Path
) -> None:
    """Killed once or twice, resumed in the same or another folder, with other numbers of workers and batches ahead."""
    draw, (expected, seconds) = random.Random(trial), whole
    run, process, done = tmp_path / "run", start(shared, tmp_path / "run"), 0
    for kill in range(draw.choice([1, 1, 2])):
        wait_for_step(run, draw.randint(done + 1, done + (STEPS - 3 - done) // 2), process)
        time.sleep(draw.uniform(0, seconds))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it was too late to kill it"
        found = last_checkpoint(run)
        done = torch.load(found / "meta.pt")["global_step"]
        assert 1 <= done < STEPS
        before, run = run, draw.choice([run, tmp_path / f"run{kill}"])
        more = [f"resume={draw.choice([before, found])}", f"data.num_workers={draw.choice([0, 0, 2])}"]
        process = start(shared, run, *more, f"data.prefetch={draw.choice([0, 2, 5])}")
        if done > STEPS - 6:
            break
    finish(process)
    weights, known = (load_file(folder / "model.safetensors") for folder in (run, expected))
    assert weights.keys() == known.keys()
    for name, tensor in weights.items():
        assert tensor.equal(known[name]), name
    assert (run / "ledger.jsonl").read_text() == (expected / "ledger.jsonl").read_text()
