"""A training set of M4-Instruct's size: indexing, starting, reading, resuming, and what a worker holds in memory.

    python benchmarks/loading.py index|start|read|resume|order FOLDER

Run by benchmarks/data.py, in a process of its own for each measurement, so that none finds what another left in memory.
The last line that it prints has the numbers, as ``name=value`` with spaces between.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from itertools import islice
from multiprocessing import active_children
from pathlib import Path

import numpy as np
from interleave_plugins.dataset.m4_instruct import M4Instruct

import interleave as il
from interleave.data.budget import Budget
from interleave.data.cursor import Cursor
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource, flattened
from interleave.data.mixture import Walk
from interleave.model.assembly import assemble

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

WORKERS, BATCHES = 2, 300
"""Loader workers, and batches until their speed and memory are measured."""
CONSUMED = 1_000_000
"""Samples that were read before a run is resumed."""


def write(folder: Path, samples: int) -> int:
    """Write the stand-in for M4-Instruct: its schema and proportions, and small pictures. Returns how many records."""
    from m4_stand_in import write

    return sum(write(folder, samples).values())


def data_of(folder: Path) -> InterleavedData:
    """The data side that ``interleave train`` builds of the folder, with the smallest model."""
    tiny = {"name": "tiny", "dim": 16, "layers": 1, "heads": 2}
    assembly = assemble({
        "vision_encoder": {**tiny, "size": 16, "patch": 4}, "projector": {"name": "mlp"}, "llm": tiny,
        "modality": {name: {"name": name} for name in ("image", "video", "multipatch")},
    })  # fmt: skip
    sets = flattened({"m4": M4Instruct(str(folder), single="image")})
    source = ExampleSource(sets, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    return InterleavedData(source, Budget(2048, 1, 128, 4.0), 0, WORKERS)


def start(folder: Path) -> dict[str, float]:
    """Measure a start whose data sets are indexed already.

    built, first: seconds to the data sets and their order, and to the first batch.
    samples/s: of the workers together, over BATCHES batches.
    rss, own, pss: memory of the largest worker after these, as ``memory`` has it.
    """
    begun = time.perf_counter()
    data = data_of(folder)
    built = time.perf_counter() - begun
    batches = iter(data.train)
    batch = next(batches)
    first, place = time.perf_counter() - begun, batch.cursor["next"]
    *_, batch = islice(batches, BATCHES)
    spent = time.perf_counter() - begun - first
    workers = [memory(child.pid) for child in active_children()]
    largest = {name: max(worker[name] for worker in workers) for name in workers[0]}
    return {"built": built, "first": first, "samples/s": (batch.cursor["next"] - place) / spent, **largest}


def memory(process: int | None) -> dict[str, float]:
    """Memory of a process in MB, as Linux counts it.

    rss: all that is resident.
    own: what no other process shares.
    pss: its own, and its part of what is shared.
    """
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {}
    for line in lines:
        name, kilobytes = line.split(":")[0], int(line.split()[1])
        sizes[name] = kilobytes * 1024 / 1e6
    return {"rss": sizes["Rss"], "own": sizes["Private_Clean"] + sizes["Private_Dirty"], "pss": sizes["Pss"]}


def index(folder: Path) -> dict[str, float]:
    """Seconds of the first reading of the annotation files."""
    begun = time.perf_counter()
    M4Instruct(str(folder), single="image")
    return {"seconds": time.perf_counter() - begun}


def read(folder: Path) -> dict[str, float]:
    """Samples a processor second at random numbers, without their pictures."""
    m4 = M4Instruct(str(folder), single="image")
    numbers = np.random.default_rng(0).integers(0, len(m4), 20_000)
    begun = time.process_time()
    for number in numbers:
        m4[int(number)]
    return {"samples/s": len(numbers) / (time.process_time() - begun)}


def resume(folder: Path) -> dict[str, float]:
    """Seconds to the first batch after CONSUMED samples.

    same: on as many ranks as before, one.
    other: of a run that had 8 ranks.
    """
    cursor: Cursor = {
        **data_of(folder).train.cursor,
        "next": CONSUMED,
        "seen": (CONSUMED * 700, CONSUMED * 9),  # 700 tokens and 9 views a sample
        "read": CONSUMED,
        "waiting": list(range(CONSUMED - 40, CONSUMED - 20)),
    }
    cursors_before: Mapping[str, list[Cursor]] = {
        "same": [cursor],
        "other": [{**cursor, "next": CONSUMED + 37 * rank, "waiting": []} for rank in range(8)],
    }
    seconds = {}
    for name, cursors in cursors_before.items():
        ranks = [{"cursor": each, "ledger": [], "generators": {"cpu": None, "cuda": None}} for each in cursors]
        data = data_of(folder)
        begun = time.perf_counter()
        data.load_state_dict({"mixture": data.train.mixture.signature(), "ranks": ranks})
        next(iter(data.train))
        seconds[name] = time.perf_counter() - begun
    return seconds


def order(folder: Path) -> dict[str, float]:
    """Microseconds to find the sample of the next draw.

    lost: where a sample of each source was lost before, so that each draw looks for the rank's next place.
    """
    mixture, draws = data_of(folder).train.mixture, 2_000
    microseconds = {}
    for name in ("plain", "lost"):
        walk = Walk(mixture, rank=3, world=8)
        if name == "lost":
            for source in range(len(mixture.names)):
                walk.more(source)
        begun = time.perf_counter()
        for source in islice(walk.draws(), draws):
            mixture.index(walk.take(source))
        microseconds[name] = (time.perf_counter() - begun) / draws * 1e6
    return microseconds


MEASUREMENTS: Mapping[str, Callable[[Path], dict[str, float]]] = {
    "index": index,
    "start": start,
    "read": read,
    "resume": resume,
    "order": order,
}

if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    il.load_plugins()  # before the clock starts: what imports cost is not a matter of the data
    measured = MEASUREMENTS[sys.argv[1]](Path(sys.argv[2]))
    print(" ".join(f"{name}={value:.3f}" for name, value in measured.items()))
