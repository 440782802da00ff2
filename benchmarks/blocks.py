"""Checkpointed and compiled blocks, chunks of views and a frozen tower: seconds and peak memory of a training step.

A row of 2,048 tokens that shows 8 views of 196 tokens, forward and backward; towers of 4 layers, one thread. Each
choice has a process of its own.

python benchmarks/blocks.py
"""

import ctypes
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from loss_head import memory

import interleave as il
from interleave.core.types import Batch
from interleave.model.assembly import Assembly, assemble
from interleave.processing.collate import collate
from interleave.processing.render import render
from interleave.training.compilation import compile_blocks
from interleave.training.parallelize import TOWERS, CheckpointMode, blocks, checkpoint_activations

VIEWS, TOKENS = 8, 2048
STEPS = 4
"""The first of them compiles, and is timed by itself."""


@dataclass(frozen=True)
class Choice:
    """How blocks are computed. kept: their activations. chunks: of the views. frozen: the vision encoder."""

    kept: CheckpointMode | None = None
    compiled: bool = False
    chunks: int = 1
    frozen: bool = False


CHOICES = {
    "plain": Choice(),
    "selective": Choice("selective"),
    "full": Choice("full"),
    "compiled": Choice(compiled=True),
    "compiled, selective": Choice("selective", compiled=True),
    "compiled, full": Choice("full", compiled=True),
    "`vision_chunk=2`": Choice(chunks=4),
    "`vision_chunk=2`, full": Choice("full", chunks=4),
    "frozen vision encoder": Choice(frozen=True),
    "frozen vision encoder, `vision_chunk=2`": Choice(chunks=4, frozen=True),
}


def model_and_batch() -> tuple[Assembly, Batch]:
    il.load_plugins()
    assembly = assemble({
        "vision_encoder": {"name": "tiny", "size": 224, "patch": 16, "dim": 256, "layers": 4, "heads": 4},
        "projector": {"name": "mlp"}, "llm": {"name": "tiny", "dim": 256, "layers": 4},
        "modality": {"image": {"name": "image"}},
    })  # fmt: skip
    media = il.Media("image", assembly.adapters["image"].example())
    said = [il.Message("user", [media] * VIEWS), il.Message("assistant", ["a picture " * 20])]
    example = render(il.Sample(said, "1", "bench"), assembly.adapters, assembly.model.llm.tokenizer, False)
    return assembly, collate([[example]], TOKENS, assembly.vision)


def measure(choice: Choice) -> None:
    """Print seconds of the first step and of the fastest later one, and MiB that a later one takes above the start."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    assembly, batch = model_and_batch()
    model = assembly.model.train()
    model.vision_chunks = choice.chunks
    model.vision_encoder.requires_grad_(not choice.frozen)
    checkpoint_activations(model, dict.fromkeys(TOWERS, choice.kept) if choice.kept else {})
    if choice.compiled:
        compile_blocks(blocks(model))
    seconds: list[float] = []
    for step in range(STEPS):
        if step == 1:  # gradients are there, and the compiler has ended
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # forgets the highest memory so far
            before = memory("VmRSS")
        started = time.perf_counter()
        model.loss(batch)[0].backward()
        seconds.append(time.perf_counter() - started)
    print(f"{seconds[0]:.1f} {min(seconds[1:]):.2f} {memory('VmHWM') - before:.0f}")


def main() -> None:
    print(f"torch {torch.__version__}\n| blocks | first step, s | a step, s | MiB above the start |\n|---|--:|--:|--:|")
    for name, choice in CHOICES.items():
        command = [sys.executable, __file__, json.dumps(asdict(choice))]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        print(f"| {name} | {' | '.join(said.split())} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Choice(**json.loads(sys.argv[1])))
    else:
        main()
