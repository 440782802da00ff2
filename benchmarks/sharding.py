"""What FSDP2 sends in a step, and what stays gathered meanwhile, for several ways to shard a model.

python benchmarks/sharding.py

Two processes over gloo, four micro-batches, frozen vision; the language model has half the width and half the
vocabulary of the published 0.5B model, and 4 layers.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.fsdp._fully_shard import _fsdp_param_group as param_group
from torch.distributed.tensor import DTensor

import interleave as il
from interleave.core.types import Batch
from interleave.model.assembly import Assembly, assemble
from interleave.model.interleaved_model import InterleavedModel
from interleave.processing.collate import collate
from interleave.processing.render import render
from interleave.training.parallelize import blocks
from interleave.training.parallelize_units import Sharding, shard

SIZES = {"hidden_size": 448, "intermediate_size": 2432, "num_attention_heads": 14, "num_key_value_heads": 2}
MICRO_BATCHES = 4
MIB = 2**20
Apply = Callable[[InterleavedModel, DeviceMesh], None]


def blocks_and_root(model: InterleavedModel, mesh: DeviceMesh) -> None:
    """The plan that was replaced: a unit for each block, and one for all else."""
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32)
    for block in blocks(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    register_fsdp_forward_method(model, "loss")


def with_options(sharding: Sharding) -> Apply:
    return lambda model, mesh: shard(model, mesh, torch.bfloat16, sharding)


PLANS: list[tuple[str, bool, Apply, bool]] = [
    ("blocks and root", False, blocks_and_root, True),
    ("own units", False, with_options(Sharding()), True),
    ("own units, reduced once", False, with_options(Sharding()), False),
    ("... `reshard_after_forward=false`", False, with_options(Sharding(reshard_after_forward=False)), False),
    ("... `frozen=replicate`", False, with_options(Sharding(frozen="replicate")), False),
    ("blocks and root, tied", True, blocks_and_root, True),
    ("own units, reduced once, tied", True, with_options(Sharding()), False),
]
"""Name, whether embedding and head are one tensor, the plan, whether every micro-batch reduces."""


def model_and_batch(tied: bool) -> tuple[Assembly, Batch]:
    il.load_plugins()
    llm = {**SIZES, "num_hidden_layers": 4, "vocab_size": 75_968, "tie_word_embeddings": tied}
    vision = {"name": "tiny", "size": 56, "patch": 14, "dim": 512, "layers": 4, "heads": 8}
    assembly = assemble({
        "vision_encoder": vision, "projector": {"name": "mlp"}, "llm": {"name": "qwen2", "config": llm},
        "modality": {"image": {"name": "image"}},
    })  # fmt: skip
    media = il.Media("image", assembly.adapters["image"].example())
    said = [il.Message("user", ["what is ", media, "?"]), il.Message("assistant", ["a picture " * 8])]
    example = render(il.Sample(said, "1", "bench"), assembly.adapters, assembly.model.llm.tokenizer, False)
    return assembly, collate([[example]], 256, assembly.vision)


def gathered(model: nn.Module) -> float:
    """MiB of parameters that lie on this rank as a whole."""
    return sum(p.nbytes for p in model.parameters() if not isinstance(p, DTensor)) / MIB


def measure(tied: bool, apply: Apply, reduce_each: bool) -> list[float]:
    """All-gathers and reduce-scatters of a step, and what is gathered while the third of four blocks computes:
    MiB at the end of its forward pass, and at the start of its backward pass."""
    torch.manual_seed(0)
    assembly, batch = model_and_batch(tied)
    model = assembly.model
    model.vision_encoder.requires_grad_(False)
    apply(model, init_device_mesh("cpu", (2,)))
    assert isinstance(model, FSDPModule)
    forward, backward = [0.0], [0.0]
    block = model.llm.blocks()[2]
    block.register_forward_hook(lambda *_: forward.append(gathered(model)))
    block.register_full_backward_pre_hook(lambda *_: backward.append(gathered(model)))
    with (
        patch.object(param_group, "foreach_all_gather", wraps=param_group.foreach_all_gather) as gathers,
        patch.object(param_group, "foreach_reduce", wraps=param_group.foreach_reduce) as reduces,
        torch.autocast("cpu", torch.bfloat16),
    ):
        for i in range(MICRO_BATCHES):
            model.set_requires_gradient_sync(reduce_each or i == MICRO_BATCHES - 1)
            model.loss(batch)[0].backward()
    return [gathers.call_count, reduces.call_count, forward[-1], backward[-1]]


def main() -> None:
    dist.init_process_group("gloo")
    if dist.get_rank() == 0:
        print("| units | all-gathers | reduce-scatters | MiB gathered, forward | backward |\n|---|--:|--:|--:|--:|")
    for name, tied, apply, reduce_each in PLANS:
        numbers = [f"{number:.0f}" for number in measure(tied, apply, reduce_each)]
        if dist.get_rank() == 0:
            print(f"| {' | '.join([name, *numbers])} |", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:
        main()
    else:
        job = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
        sys.exit(subprocess.run(job, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode)
