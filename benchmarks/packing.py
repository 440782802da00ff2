"""Packed rows against padded ones, and the loss head in chunks: seconds a step and peak memory.

python benchmarks/packing.py
"""

import resource
import time
from collections.abc import Callable

import torch
from interleave_plugins.llm.qwen2 import Qwen2

from interleave.core.types import Batch, Example, VisionSpec
from interleave.data.packing import Packer
from interleave.model.loss import next_token_loss
from interleave.processing.collate import collate, one_per_row

VISION = VisionSpec(28, 2)
SHAPE = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4,
         "intermediate_size": 704, "vocab_size": 8192}  # fmt: skip


def examples(count: int, mean: float, spread: float) -> list[Example]:
    """Texts of lognormal lengths, all of it supervised."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.empty(count).log_normal_(mean, spread, generator=generator).clamp(16, 2048).long()
    none = torch.zeros(0, dtype=torch.long)
    texts = [torch.randint(0, 256, (int(n),), generator=generator) for n in lengths]
    return [Example(ids, ids, none, []) for ids in texts]


def packed(items: list[Example], length: int) -> list[Batch]:
    packer, batches = Packer(1, length, 1), []
    for position, item in enumerate(items):
        packer.add(position, item)
    while packer.waiting:
        batches.append(collate(packer.take(), length, VISION))
    return batches


def seconds(step: Callable[[], object]) -> float:
    step()
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def step(llm: Qwen2, batches: list[Batch]) -> None:
    for batch in batches:
        loss, _ = next_token_loss(
            llm(llm.embed(batch.input_ids), batch.position_ids, batch.document_ids), batch.labels, llm.head
        )
        loss.backward()
    llm.zero_grad()


def main() -> None:
    torch.manual_seed(0)
    llm = Qwen2(config=SHAPE)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| lengths | padded: real tokens | seconds | packed: real tokens | seconds | faster |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, mean, spread in (("even", 5.5, 0.4), ("mixed", 5.2, 0.8), ("long tail", 4.8, 1.2)):
        items = examples(48, mean, spread)
        padded = [one_per_row(items[i : i + 16], VISION) for i in range(0, 48, 16)]
        rows = packed(items, 2048)
        real = sum(len(e.input_ids) for e in items)
        shares = [real / sum(b.input_ids.numel() for b in batches) for batches in (padded, rows)]
        slow, fast = (seconds(lambda b=batches: step(llm, b)) for batches in (padded, rows))  # type: ignore[misc]
        print(f"| {name} | {shares[0]:.2f} | {slow:.2f} | {shares[1]:.2f} | {fast:.2f} | {slow / fast:.1f}x |")
    head = torch.nn.Linear(896, 151_936, bias=False)
    hidden, labels = torch.randn(1, 4096, 896, requires_grad=True), torch.randint(0, 151_936, (1, 4096))
    labels[torch.rand(1, 4096) > 0.3] = -100
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    taken = seconds(lambda: next_token_loss(hidden, labels, head)[0].backward())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    print(
        f"\nloss head, 4096 tokens, 30% supervised, vocabulary 151,936: {taken:.1f} s, {peak:.0f} MiB above the start"
    )


if __name__ == "__main__":
    main()
