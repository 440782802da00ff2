"""Run by torchrun in test_start.py: models start as configs say, sharded over the ranks, then whole to a file.

torchrun --nproc-per-node 2 start_job.py CONFIGS.json FILE
"""

import json
import sys
from pathlib import Path

import torch
from full_weights import full_state
from small_models import il
from torch.distributed.device_mesh import init_device_mesh

from interleave.core.collectives import destroy_process_group, global_rank, init_process_group, world_size
from interleave.training import parallelize
from interleave.training.lora import Lora, inject
from interleave.training.parallelize_units import shard
from interleave.training.start import initial_model

il.load_plugins()


def started(config: dict[str, object], shards: bool) -> dict[str, torch.Tensor]:
    """The weights that a run of this config begins with, whole on rank 0; all of them also go through ``lora``."""
    torch.manual_seed(0)
    assembly, _, start = initial_model({"overrides": [], **config}, reads=True)
    if config.get("lora"):
        inject(assembly.model.llm, Lora(rank=2))
    if shards:
        parallelize.checkpoint_activations(assembly.model, dict.fromkeys(parallelize.TOWERS, "full"))
        shard(assembly.model, init_device_mesh("cpu", (world_size(),)))
    start.fill(assembly.model, torch.device("cpu"))
    assert not any(parameter.is_meta for parameter in assembly.model.parameters())
    return full_state(assembly.model)


if __name__ == "__main__":
    init_process_group()
    configs = json.loads(Path(sys.argv[1]).read_text())
    states = {name: started(config, shards=True) for name, config in configs.items()}
    if global_rank() == 0:
        torch.save(states, sys.argv[2])
    destroy_process_group()
