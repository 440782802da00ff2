"""Host memory and time of writing what sharded ranks have learned: by all together, and gathered on one as is usual.

python benchmarks/export.py [--megabytes 400] [--ranks 1 2 4]

Random weights of Qwen's 0.5B width, float32 in shards, written in bf16 as four safetensors files into the folder for
temporary files; gloo, a thread a rank. Memory is RssAnon of /proc, counted from when the shards are there (Linux).
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from startup import GIB, Peak, numbers_of_ranks
from torch.distributed.device_mesh import init_device_mesh

import interleave as il
from interleave.core.collectives import (
    all_gather,
    barrier,
    destroy_process_group,
    global_rank,
    init_process_group,
    world_size,
)
from interleave.model.assembly import assemble
from interleave.model.interleaved_model import InterleavedModel
from interleave.training import parallelize
from interleave.training.weight_export import export_weights

SIZES = {"hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14, "num_key_value_heads": 2}
VOCABULARY = 32_000
A_LAYER, EMBEDDING_AND_HEAD = 14_910_000, 2 * VOCABULARY * 896
"""Parameters, about."""


def model_of(megabytes: float) -> InterleavedModel:
    """megabytes: of the weights in bf16."""
    layers = max(1, round((megabytes * 1e6 / 2 - EMBEDDING_AND_HEAD) / A_LAYER))
    llm = {**SIZES, "num_hidden_layers": layers, "vocab_size": VOCABULARY, "tie_word_embeddings": False}
    return assemble({
        "vision_encoder": {"name": "tiny", "size": 56, "patch": 14, "dim": 512, "layers": 4, "heads": 8},
        "projector": {"name": "mlp"}, "llm": {"name": "qwen2", "config": llm}, "modality": {"image": {"name": "image"}},
    }).model  # fmt: skip


def write_from_one(folder: Path, model: InterleavedModel) -> None:
    """Gather all on every rank, of which the first keeps and writes it."""
    kept: dict[str, torch.Tensor] = {}
    for name, tensor in model.named_parameters():
        full = parallelize.whole(tensor).detach().to(torch.bfloat16)
        if global_rank() == 0:
            kept[name] = full
    if global_rank() == 0:
        save_file(kept, folder / "model.safetensors")
    barrier()


def rank(folder: Path, way: str, megabytes: float) -> None:
    """One rank's part: write, and print on rank 0 the largest of all ranks."""
    init_process_group()
    il.load_plugins()
    torch.manual_seed(0)
    model = model_of(megabytes)
    parallelize.shard(model, init_device_mesh("cpu", (world_size(),)))
    num_bytes = 2 * sum(parameter.numel() for parameter in model.parameters())
    largest = 4 * max(parameter.numel() for parameter in model.parameters())
    barrier()
    peak, began = Peak(), time.perf_counter()
    if way == "one":
        write_from_one(folder, model)
    else:
        export_weights(folder, model, None, torch.bfloat16, num_bytes // 4 + largest // 4)
    peaks = all_gather((peak.stop(), time.perf_counter() - began))
    if global_rank() == 0:
        found = {
            "written": num_bytes / GIB, "largest": largest / GIB, "first": peaks[0][0] / GIB,
            "others": max((held for held, _ in peaks[1:]), default=0) / GIB, "seconds": max(took for _, took in peaks),
        }  # fmt: skip
        print(json.dumps(found), flush=True)
    destroy_process_group()


def measure(ranks: int, way: str, megabytes: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return numbers_of_ranks(ranks, __file__, "--folder", folder, "--way", way, "--megabytes", str(megabytes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=400)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--way", choices=["one", "all"], help="of one rank, as --folder; torchrun gives them")
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    if chosen.way:
        rank(chosen.folder, chosen.way, chosen.megabytes)
        return
    columns = [
        "ranks",
        "written by",
        "written, GiB",
        "largest tensor, GiB",
        "peak of rank 0, GiB",
        "of others, GiB",
        "s",
    ]
    print(f"| {' | '.join(columns)} |\n|--:|---{'|--:' * 5}|")
    for ranks in chosen.ranks:
        for way in ("one", "all"):
            found = measure(ranks, way, chosen.megabytes)
            print(f"| {ranks} | {way} | {' | '.join(f'{number:.2f}' for number in found.values())} |", flush=True)


if __name__ == "__main__":
    main()
