"""Packed rows against padded ones, and the loss head in chunks: seconds a step and peak memory.

python benchmarks/packing.py
"""

import resource
import time
from collections.abc import Callable

import torch
from interleave_plugins.llm.qwen2 import Qwen2

from interleave.core.types import Batch, Example, Targets, VisionSpec
from interleave.data.packing import Packer
from interleave.model.loss import next_token_loss
from interleave.processing.collate import collate, one_per_row

VISION = VisionSpec(28, 2)
SHAPE = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4,
         "intermediate_size": 704, "vocab_size": 8192}  # fmt: skip
"""The config of the language model, as Transformers names its options."""
ROW = 2048
"""Tokens of a packed row, and of the longest text."""
PADDED_ROWS = 16
"""Texts of a padded batch, each in a row of its own."""


def examples(count: int, mean: float, spread: float) -> list[Example]:
    """Texts of lognormal lengths, all of it supervised. mean, spread: of the logarithm of their tokens."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.empty(count).log_normal_(mean, spread, generator=generator).clamp(16, ROW).long()
    no_visuals = torch.zeros(0, dtype=torch.long)
    texts = [torch.randint(0, 256, (int(n),), generator=generator) for n in lengths]
    return [Example(ids, ids, no_visuals, []) for ids in texts]


def packed(items: list[Example]) -> list[Batch]:
    """The texts in batches of one packed row, (1, ROW)."""
    packer = Packer(1, ROW, 1)
    for place, item in enumerate(items):
        packer.add(place, item)
    batches = []
    while packer.waiting:
        batches.append(collate(packer.take(), ROW, VISION))
    return batches


def padded(items: list[Example]) -> list[Batch]:
    """The texts in batches of PADDED_ROWS rows, each as long as the longest of its batch."""
    batches = []
    for start in range(0, len(items), PADDED_ROWS):
        batches.append(one_per_row(items[start : start + PADDED_ROWS], VISION))
    return batches


def seconds(work: Callable[[], object]) -> float:
    """Wall time of the second of two runs; the first one sets things up."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def step(llm: Qwen2, batches: list[Batch]) -> None:
    """Forward and backward over all batches."""
    for batch in batches:
        embeds = llm.embed(batch.input_ids)  # (B, T, D)
        hidden = llm(embeds, batch.position_ids, batch.segments)  # (B, T, D)
        loss, _ = next_token_loss(hidden, batch.targets, llm.head, llm.head_matrix())
        loss.backward()
    llm.zero_grad()


def seconds_a_step(llm: Qwen2, batches: list[Batch]) -> float:
    return seconds(lambda: step(llm, batches))


def compare_rows() -> None:
    """Print one line for each distribution of lengths."""
    llm = Qwen2(config=SHAPE)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| lengths | padded: real tokens | seconds | packed: real tokens | seconds | faster |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, mean, spread in (("even", 5.5, 0.4), ("mixed", 5.2, 0.8), ("long tail", 4.8, 1.2)):
        items = examples(48, mean, spread)
        real = sum(len(e.input_ids) for e in items)
        cells, times = [], []
        for batches in (padded(items), packed(items)):
            share = real / sum(batch.input_ids.numel() for batch in batches)
            times.append(seconds_a_step(llm, batches))
            cells.append(f"{share:.2f} | {times[-1]:.2f}")
        print(f"| {name} | {' | '.join(cells)} | {times[0] / times[1]:.1f}x |")


def measure_loss_head() -> None:
    """Print time and memory of the loss over a vocabulary as large as Qwen's: (T, vocabulary) logits never exist."""
    head = torch.nn.Linear(896, 151_936, bias=False)
    hidden = torch.randn(1, 4096, 896, requires_grad=True)  # (B, T, D)
    labels = torch.randint(0, 151_936, (1, 4096))  # (B, T)
    labels[torch.rand(1, 4096) > 0.3] = -100  # 70% of the tokens are not learned
    targets = Targets.of(labels, torch.ones_like(labels))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB to MiB
    taken = seconds(lambda: next_token_loss(hidden, targets, head, head)[0].backward())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    print(
        f"\nloss head, 4096 tokens, 30% supervised, vocabulary 151,936: {taken:.1f} s, {peak:.0f} MiB above the start"
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    compare_rows()
    measure_loss_head()
