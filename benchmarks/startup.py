"""Host memory and time of a sharded model's start, whole on each rank as it was once, and shard by shard.

python benchmarks/startup.py FOLDER [--ranks 2 4]

FOLDER: where the checkpoint of 1.6 GiB is made once (``real_size/material.py``). Memory is RssAnon of /proc, what a
process holds without the pages of mapped files, sampled every 2 ms and counted from before the model is built (Linux).
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
from real_size.material import write_checkpoint
from torch.distributed.device_mesh import init_device_mesh

import interleave as il
from interleave.checkpoints import open_checkpoint
from interleave.core.collectives import all_gather, destroy_process_group, global_rank, init_process_group, world_size
from interleave.inference.lm import read_model
from interleave.training import parallelize
from interleave.training.start import initial_model

GIB = 2**30


class Peak(threading.Thread):
    """The most anonymous memory of this process from now until ``stop``, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.most = anonymous()
        self.ends = False
        self.start()

    def run(self) -> None:
        while not self.ends:
            self.most = max(self.most, anonymous())
            time.sleep(0.002)

    def stop(self) -> int:
        self.ends = True
        self.join()
        return self.most - self.before


def anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise LookupError("RssAnon")


def start(folder: str, way: str) -> None:
    """One rank's part: start and print, on rank 0, the largest of all ranks."""
    init_process_group()
    il.load_plugins()
    mesh = init_device_mesh("cpu", (world_size(),))
    peak, began = Peak(), time.perf_counter()
    if way == "whole":
        model = read_model(open_checkpoint(folder), dtype=torch.float32).model.train()
        parallelize.shard(model, mesh)
    else:
        assembly, _, begin = initial_model({"init": folder, "overrides": []}, reads=True)
        model = assembly.model
        parallelize.shard(model, mesh)
        begin.fill(model, torch.device("cpu"))
    seconds, held = time.perf_counter() - began, peak.stop()
    numbers = sum(parameter.numel() for parameter in model.parameters())
    largest = max(parameter.numel() for parameter in model.parameters())
    peaks = all_gather((held, seconds))
    if global_rank() == 0:
        found = {
            "ranks": world_size(), "way": way, "shard": 4 * numbers / world_size() / GIB, "largest": 4 * largest / GIB,
            "peak": max(bytes_held for bytes_held, _ in peaks) / GIB, "seconds": max(took for _, took in peaks),
        }  # fmt: skip
        print(json.dumps(found), flush=True)
    destroy_process_group()


def numbers_of_ranks(ranks: int, *job: str) -> dict[str, float]:
    """What rank 0 printed last, JSON, of a script and its arguments run by so many ranks, each with one thread."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *job]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, check=True)
    numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--way", choices=["whole", "shards"], help="of one rank; torchrun gives it")
    chosen = parser.parse_args()
    if chosen.way:
        start(str(chosen.folder), chosen.way)
        return
    if not chosen.folder.exists():
        write_checkpoint(chosen.folder)
    print("| ranks | way | shard, GiB | largest tensor, GiB | peak a rank, GiB | seconds |\n|--:|---|--:|--:|--:|--:|")
    for ranks in chosen.ranks:
        for way in ("whole", "shards"):
            found = numbers_of_ranks(ranks, __file__, str(chosen.folder), "--way", way)
            sizes = f"{found['shard']:.2f} | {found['largest']:.2f} | {found['peak']:.2f}"
            print(f"| {ranks} | {way} | {sizes} | {found['seconds']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
