"""Seconds, memory and exactness of the loss head: chunks computed again, plain logits, gradients in the forward pass.

python benchmarks/loss_head.py
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from interleave.core.types import IGNORE, Targets
from interleave.model.loss import next_token_loss, token_losses
from interleave.model.matrix_loss import chunked_loss

WIDTH, TOKENS = 896, 4096
OLD_LOGITS = 2**26
"""What a chunk that is computed again had room for before."""
Loss = Callable[[Tensor, Targets, torch.nn.Linear], Tensor]


def again(hidden: Tensor, targets: Targets, head: torch.nn.Linear) -> Tensor:
    """Chunks of logits that the backward pass computes again."""
    return token_losses(hidden, targets, head, chunk=OLD_LOGITS // head.out_features).sum()


def plain(hidden: Tensor, targets: Targets, head: torch.nn.Linear) -> Tensor:
    """Logits of all supervised tokens at once, by autograd."""
    return token_losses(hidden, targets, head, chunk=TOKENS).sum()


def forward_pass(hidden: Tensor, targets: Targets, head: torch.nn.Linear) -> Tensor:
    """As training does it."""
    return next_token_loss(hidden, targets, head, head)[0]


LOSSES: dict[str, Loss] = {"computed again": again, "plain logits": plain, "in the forward pass": forward_pass}


def measure(name: str, vocabulary: int, share: float, dtype: torch.dtype) -> None:
    """Print seconds, and MiB above the start, the weight's gradient included."""
    torch.manual_seed(0)
    (torch.ones(64, 64, requires_grad=True) @ torch.ones(64, 64)).sum().backward()  # sets libraries up
    head = torch.nn.Linear(WIDTH, vocabulary, bias=False, dtype=dtype)
    hidden = torch.randn(1, TOKENS, WIDTH, dtype=dtype, requires_grad=True)  # (B, T, D)
    labels = torch.randint(0, vocabulary, (1, TOKENS))  # (B, T)
    labels[torch.rand(1, TOKENS) > share] = IGNORE
    targets = Targets.of(labels, torch.ones_like(labels))
    Path("/proc/self/clear_refs").write_text("5")  # forgets the highest memory so far
    before = memory("VmRSS")
    started = time.perf_counter()
    LOSSES[name](hidden, targets, head).backward()
    seconds = time.perf_counter() - started
    print(f"{seconds:.2f} {memory('VmHWM') - before:.0f}")


def memory(field: str) -> float:
    """MiB of this process, from Linux: ``VmRSS`` now, ``VmHWM`` at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024  # KiB to MiB
    raise KeyError(field)


def compare(vocabulary: int, share: float, dtype: str) -> None:
    """A row of the table for each way, each in a process of its own."""
    for name in LOSSES:
        arguments = [name, str(vocabulary), str(share), dtype]
        said = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
        seconds, peak = said.stdout.split()
        print(f"| {vocabulary:,} | {share:.0%} | {dtype} | {name} | {seconds} | {peak} |", flush=True)


def errors() -> None:
    """Relative error of the bf16 gradient of a head of 4,096 entries, 4,096 tokens with frequent and rare targets."""
    torch.manual_seed(0)
    states, weight = torch.randn(4096, 256), torch.randn(4096, 256) * 0.02
    ids = torch.distributions.Pareto(1.0, 0.7).sample((4096,)).long() % 4096
    exact = weight.double().requires_grad_()
    F.cross_entropy(states.double() @ exact.T, ids, reduction="sum").backward()
    every = Targets(torch.arange(4096), ids, torch.ones(4096).long(), 2)
    for chunk in (111, 4096):  # 37 chunks and one
        for name in ("computed again", "in the forward pass"):
            half = weight.bfloat16().requires_grad_()
            if name == "computed again":
                token_losses(states.bfloat16()[None], every, lambda x, w=half: x @ w.T, chunk=chunk).sum().backward()
            else:
                chunked_loss(states.bfloat16(), half, ids, chunk).backward()
            assert half.grad is not None
            assert exact.grad is not None
            error = float((half.grad.double() - exact.grad).norm() / exact.grad.norm())
            print(f"| {name} | {-(-4096 // chunk)} | {error:.1e} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), getattr(torch, sys.argv[4]))
        sys.exit()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| gradients | chunks | relative error, bf16 |\n|---|--:|--:|")
    errors()
    print("| vocabulary | supervised | dtype | gradients | seconds | MiB |\n|--:|--:|---|---|--:|--:|")
    for case in ((151_936, 0.3, "float32"), (37_984, 0.3, "float32"), (151_936, 0.3, "bfloat16")):
        compare(*case)
