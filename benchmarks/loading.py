"""A training set of M4-Instruct's size: indexing, starting, reading, resuming, and what a worker holds in memory.

Run by benchmarks/data.py, in a process of its own for each measurement.
"""

import os
import sys
import time
from itertools import islice
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
from interleave_plugins.dataset.m4_instruct import M4Instruct

import interleave as il
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import Source, flattened
from interleave.data.packed_loader import Budget
from interleave.model.assembly import assemble

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

WORKERS, BATCHES = 2, 300
CONSUMED = 1_000_000


def write(folder: Path, samples: int) -> int:
    """The stand-in for M4-Instruct: its schema and proportions, and small pictures."""
    from m4_stand_in import write

    return sum(write(folder, samples).values())


def data_of(folder: Path) -> InterleavedData:
    """What ``interleave train`` builds of it, with the smallest model."""
    tiny = {"name": "tiny", "dim": 16, "layers": 1, "heads": 2}
    assembly = assemble({
        "vision_encoder": {**tiny, "size": 16, "patch": 4}, "projector": {"name": "mlp"}, "llm": tiny,
        "modality": {name: {"name": name} for name in ("image", "video", "multipatch")},
    })  # fmt: skip
    sets = flattened({"m4": M4Instruct(str(folder), single="image")})
    source = Source(sets, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    return InterleavedData(source, Budget(2048, 1, 128, 4.0), 0, WORKERS)


def start(folder: Path) -> dict[str, float]:
    """Seconds to the data sets, where they are indexed already, and to the first batch; MB of each worker then."""
    begun = time.perf_counter()
    data = data_of(folder)
    built = time.perf_counter() - begun
    batches = iter(data.train)
    batch = next(batches)
    first, place = time.perf_counter() - begun, batch.cursor["next"]
    *_, batch = islice(batches, BATCHES)
    spent = time.perf_counter() - begun - first
    found = [memory(child.pid) for child in active_children()]
    held = {name: max(f[name] for f in found) for name in found[0]}
    return {"built": built, "first": first, "samples/s": (batch.cursor["next"] - place) / spent, **held}


def memory(process: int | None) -> dict[str, float]:
    """MB: all that is resident; its own part, which no other process shares; and with its part of what is shared."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines}
    return {"rss": sizes["Rss"], "own": sizes["Private_Clean"] + sizes["Private_Dirty"], "pss": sizes["Pss"]}


def index(folder: Path) -> dict[str, float]:
    """Seconds of the first reading of the annotation files."""
    begun = time.perf_counter()
    M4Instruct(str(folder), single="image")
    return {"seconds": time.perf_counter() - begun}


def read(folder: Path) -> dict[str, float]:
    """Samples a processor second at random places, without their pictures."""
    m4 = M4Instruct(str(folder), single="image")
    places = np.random.default_rng(0).integers(0, len(m4), 20_000)
    begun = time.process_time()
    for place in places:
        m4[int(place)]
    return {"samples/s": len(places) / (time.process_time() - begun)}


def resume(folder: Path) -> dict[str, float]:
    """Seconds to the first batch after a million samples, on as many ranks as before and on another number."""
    data = data_of(folder)
    cursor = {**data.train.cursor, "next": CONSUMED, "seen": (CONSUMED * 700, CONSUMED * 9), "read": CONSUMED}
    cursor["waiting"] = list(range(CONSUMED - 40, CONSUMED - 20))
    state: dict[str, Any] = {"cursor": cursor, "ledger": [], "generators": {"cpu": None, "cuda": None}}
    others = [{**state, "cursor": {**cursor, "next": CONSUMED + 37 * rank, "waiting": []}} for rank in range(8)]
    found = {}
    for name, ranks in (("same", [state]), ("other", others)):
        data = data_of(folder)
        begun = time.perf_counter()
        data.load_state_dict({"mixture": data.train.mixture.signature(), "ranks": ranks})
        next(iter(data.train))
        found[name] = time.perf_counter() - begun
    return found


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    il.load_plugins()  # what imports cost is not a matter of the data
    measured = {"index": index, "start": start, "read": read, "resume": resume}[sys.argv[1]](Path(sys.argv[2]))
    print(" ".join(f"{name}={value:.3f}" for name, value in measured.items()))
