"""Run by torchrun in test_small_states.py: a small network that FSDP2 shards learns with moments of each kind.

torchrun --nproc-per-node 2 small_states_job.py FILE
"""

import sys

import torch
import torch.distributed as dist
from small_states_steps import STATES, adamw, learn, network
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor


def main() -> None:
    """Rank 0 writes, by kind, the losses and the whole moments of the first weight."""
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    results: dict[str, object] = {}
    for states in STATES:
        model = network()
        fully_shard(model, mesh=mesh)
        optimizer = adamw(model, states)
        losses = learn(model, optimizer, 8)
        kept = optimizer.state[next(iter(model.parameters()))]
        whole = {key: value.full_tensor() if isinstance(value, DTensor) else value for key, value in kept.items()}
        results[states] = (losses, whole)
    if dist.get_rank() == 0:
        torch.save(results, sys.argv[1])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
