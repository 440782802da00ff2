"""How long a step stands still for a checkpoint, and what lies on the disk: Lightning's way of before, and ours.

python benchmarks/checkpoints.py [GIGABYTES]

A stack of layers of Qwen's 0.5B width in float32 with the states of AdamW, 1.6 GB together, in the folder for temporary
files. Before: torch.save of everything, waited for, once as ``step-N`` and once as ``last``. Now: copied, then written
by a thread. Both wait for the disk. While the thread writes, matrix products like those of a step are timed.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import nn

from interleave.training import checkpoint_files

WIDTH, HIDDEN = 896, 4864
"""Of Qwen's 0.5B shape."""


def learner(gigabytes: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Layers and an optimiser that has taken a step: 12 bytes a parameter."""
    count = max(1, round(gigabytes * 1e9 / 12 / (2 * WIDTH * HIDDEN)))
    model = nn.Sequential(
        *(layer for _ in range(count) for layer in (nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)))
    )
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def save_whole(path: Path, state: object) -> None:
    with path.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def before(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    def both() -> None:
        for name in ("step-1.ckpt", "last.ckpt"):
            save_whole(folder / name, {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]})

    print(f"before: the step waits {seconds(both):.1f} s, {num_bytes(folder) / 1e9:.2f} GB on the disk")


def products(written: Future[None] | None) -> float:
    """Median seconds of matrix products, of twenty or of as many as there are until the writing is over."""
    left, right = torch.randn(512, WIDTH), torch.randn(WIDTH, HIDDEN)
    taken: list[float] = []
    while (len(taken) < 20) if written is None else not written.done():
        taken.append(seconds(lambda: [left @ right for _ in range(10)]))
    return sorted(taken)[len(taken) // 2] if taken else float("nan")


def now(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    staging, pool = checkpoint_files.Staging(), ThreadPoolExecutor(1)
    print(f"now: ten products of a step take {products(None) * 1e3:.0f} ms")
    for name in ("first", "second"):
        tensors = checkpoint_files.model_tensors(model) | checkpoint_files.optimizer_tensors(model, optimizer)
        share = checkpoint_files.share_of_rank(tensors)
        start = time.perf_counter()
        copies = staging.copies(share)
        copied = time.perf_counter() - start
        written = pool.submit(checkpoint_files.write_tensors, folder / name, copies, None)
        meanwhile = products(written)
        written.result()
        total = time.perf_counter() - start
        print(
            f"now, {name} checkpoint: the step waits {copied:.2f} s, the thread is done after {total:.1f} s "
            f"(ten products meanwhile: {meanwhile * 1e3:.0f} ms), {num_bytes(folder / name) / 1e9:.2f} GB on the disk"
        )
    finite = seconds(lambda: [bool(p.isfinite().all()) for p in model.parameters()])
    print(f"now: the step also waits {finite:.2f} s to see that all weights are finite, as before")
    fresh, fresh_optimizer = learner(float(sys.argv[1]) if sys.argv[1:] else 1.6)
    fresh_optimizer.state.clear()
    read = seconds(lambda: checkpoint_files.read_tensors(folder / "second", fresh, fresh_optimizer))
    print(f"now: read again in {read:.1f} s")
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), model.parameters(), strict=True))


def main() -> None:
    torch.manual_seed(0)
    learned = learner(float(sys.argv[1]) if sys.argv[1:] else 1.6)
    for measure in (before, now):
        folder = Path(tempfile.mkdtemp())
        measure(folder, *learned)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
