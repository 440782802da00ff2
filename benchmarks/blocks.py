"""Checkpointed and compiled blocks: seconds a step and peak memory.

Four layers of the 0.5B shape, 2,048 tokens in documents of 256, forward and backward, one thread.

python benchmarks/blocks.py
"""

import multiprocessing
import resource
import time

import torch
from interleave_plugins.llm.qwen2 import Qwen2
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from interleave.core.types import Segments
from interleave.training.compilation import compile_blocks
from interleave.training.recompute import selective_contexts

SHAPE = {"hidden_size": 896, "num_hidden_layers": 4, "num_attention_heads": 14, "num_key_value_heads": 2,
         "intermediate_size": 4864, "vocab_size": 512}  # fmt: skip
TOKENS, DOCUMENT = 2048, 256
VARIANTS = ("plain", "selective", "full", "compiled", "compiled selective")


def built(variant: str) -> Qwen2:
    """The language model with its layers treated as ``variant`` says."""
    torch.manual_seed(0)
    llm = Qwen2(config=SHAPE)
    layers = llm.model.model.layers
    options = {"context_fn": selective_contexts} if "selective" in variant else {}
    if "selective" in variant or "full" in variant:
        for i, layer in enumerate(layers):
            layers[i] = checkpoint_wrapper(layer, **options)
    if "compiled" in variant:
        compile_blocks(layers)
    return llm.train()


def measure(variant: str, results: "multiprocessing.Queue[str]") -> None:
    """Put a row of the table."""
    torch.set_num_threads(1)
    llm, segments = built(variant), Segments.of([[DOCUMENT] * (TOKENS // DOCUMENT)])
    embeds = torch.randn(1, TOKENS, llm.dim, requires_grad=True)
    positions = torch.arange(TOKENS)[None] % DOCUMENT
    seconds: list[float] = []
    for parameter in llm.parameters():  # there from the first step on, whatever the variant
        parameter.grad = torch.zeros_like(parameter)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB to MiB
    for _ in range(4):
        started = time.perf_counter()
        llm(embeds, positions, segments).square().sum().backward()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    memory = f"{peak:.0f} MiB" if "compiled" not in variant else "-"  # the compiler's own would be in it
    results.put(f"| {variant} | {seconds[0]:.1f} s | {min(seconds[1:]):.2f} s | {memory} |")


def main() -> None:
    """Print the table; each variant has a process of its own, as peaks never fall."""
    print("| blocks | first step | a step | memory above the start |\n|---|--:|--:|--:|")
    spawn = multiprocessing.get_context("spawn")
    for variant in VARIANTS:
        results: multiprocessing.Queue[str] = spawn.Queue()
        process = spawn.Process(target=measure, args=(variant, results))
        process.start()
        print(results.get(), flush=True)
        process.join()


if __name__ == "__main__":
    main()
