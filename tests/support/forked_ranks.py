"""Jobs of several processes, which are forked from one that has imported everything, and what they learned.

torchrun would start and import as many programs as there are ranks, and itself: most of such a test's time.
"""

import multiprocessing
import os
import runpy
import socket
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from small_models import ROOT

FORKED = multiprocessing.get_context("forkserver")
"""Makes processes that have what ``forked_training`` imports."""
FORKED.set_forkserver_preload(["forked_training"])
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the server that processes are forked from knows no other way


def run_job(job: str, ranks: int, out: Path, *more: str, options: tuple[str, ...] = ()) -> Any:
    """What ``tests/support/JOB``, run by so many processes, wrote to ``out``. more: its arguments after ``out``;
    options: those before it."""
    log = out.with_suffix(".log")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(ROOT / "tests/support" / job), *options, str(out), *more]
    processes = [FORKED.Process(target=_be_rank, args=(rank, ranks, port, words, log)) for rank in range(ranks)]
    for process in processes:
        process.start()
    _wait(processes, seconds=600)
    codes = [process.exitcode for process in processes]
    assert codes == [0] * ranks, f"{codes}: {log.read_text()[-5000:]}"
    return torch.load(out)


def _be_rank(rank: int, ranks: int, port: int, words: list[str], log: Path) -> None:
    """Run a script as torchrun would on this rank; all ranks write into one log."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
    os.environ |= {name: str(number) for name, number in numbers.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "forked"}
    with log.open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")


def _wait(processes: Sequence[BaseProcess], seconds: float) -> None:
    """Until all have ended. Once one fails the others, which would wait for it in a collective, are ended."""
    until = time.monotonic() + seconds
    while any(process.exitcode is None for process in processes):
        if time.monotonic() > until or any(process.exitcode for process in processes):
            for process in processes:
                process.kill()
        time.sleep(0.02)


def equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float = 1e-4) -> None:
    """Every tensor is its namesake to the tolerance, whichever of both models computes its activations again."""
    names = {n.replace("_checkpoint_wrapped_module.", ""): n for n in expected}
    for name, tensor in found.items():
        torch.testing.assert_close(
            tensor, expected[names[name]], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )
