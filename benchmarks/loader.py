"""What travels from two loader workers: open files, samples a second and the loader's processor time.

python benchmarks/loader.py

Samples of blank pixels, so that nothing is decoded: `text` has 250 tokens, `captions` 770 with a view of 384 pixels,
`frames` sixteen views.
"""

import sys
import time
from itertools import islice
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from small_models import small_config

import interleave as il
from interleave.core.errors import InputError
from interleave.core.types import Example, Visual
from interleave.data.budget import Budget
from interleave.data.example_source import ExampleSource
from interleave.data.packed_loader import PackedLoader
from interleave.model.assembly import assemble

SHAPES = {"text": (250, 0), "captions": (770, 1), "frames": (729 * 16 + 60, 16)}
"""Name of the source -> tokens and views of a sample."""
BUDGETS = {"text": Budget(32768, 1, 64, 4), "captions": Budget(8192, 4, 48, 4), "frames": Budget(32768, 1, 256, 4)}
BATCHES = 4


class Blank(ExampleSource):
    """Samples that cost nothing to make."""

    def example(self, name: str, index: int) -> Example | InputError:
        tokens, views = SHAPES[name]
        ids = torch.arange(tokens)
        pixels = [torch.zeros(1, 3, 384, 384, dtype=torch.uint8) for _ in range(views)]
        visual_positions = torch.arange(min(729 * views, tokens - 1))
        return Example(ids, ids.clone(), visual_positions, [Visual("image", view, [729]) for view in pixels])


class Many(il.Dataset):
    """Is asked for its size only."""

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> il.Sample:
        raise NotImplementedError


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> None:
    torch.set_num_threads(1)
    assembly = assemble(small_config())
    print("| samples | open files | samples/s | ms of the loader's process a sample |\n|---|--:|--:|--:|")
    for name, budget in BUDGETS.items():
        source = Blank({name: Many()}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
        batches = iter(PackedLoader(source, budget, 0, num_workers=2))
        next(batches)  # workers start
        begun, processor = time.perf_counter(), time.process_time()
        count = sum(len(batch.document_lengths) for batch in islice(batches, BATCHES))
        seconds, used = time.perf_counter() - begun, time.process_time() - processor
        print(f"| {name} | {open_files()} | {count / seconds:.0f} | {1e3 * used / count:.2f} |", flush=True)
        batches.close()


if __name__ == "__main__":
    main()
