"""Run by several processes in test_weight_export.py: what a rank holds of gathered weights while all are written.

export_job.py FILE FOLDER
"""

import sys
import weakref
from pathlib import Path
from unittest.mock import patch

import torch
from small_models import small_config
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from interleave.core.collectives import (
    all_gather,
    destroy_process_group,
    global_rank,
    init_process_group,
    world_size,
)
from interleave.model.assembly import assemble
from interleave.training import parallelize
from interleave.training.parallelize_units import shard
from interleave.training.weight_export import export_weights


class Held:
    """Bytes of whole weights that are in memory now, and at most so far."""

    def __init__(self) -> None:
        self.now = self.most = self.largest = 0

    def whole(self, tensor: Tensor) -> Tensor:
        """In place of ``parallelize.whole``."""
        full = gather(tensor)
        self.now += full.nbytes
        self.most, self.largest = max(self.most, self.now), max(self.largest, full.nbytes)
        weakref.finalize(full.untyped_storage(), self._freed, full.nbytes)
        return full

    def _freed(self, num_bytes: int) -> None:
        self.now -= num_bytes


if __name__ == "__main__":
    init_process_group()
    torch.manual_seed(0)
    model = assemble(small_config()).model
    shard(model, init_device_mesh("cpu", (world_size(),)))
    gather, held = parallelize.whole, Held()
    with patch.object(parallelize, "whole", held.whole):
        export_weights(Path(sys.argv[2]), model, None, torch.float32)
    found = all_gather((held.most, held.largest))
    if global_rank() == 0:
        torch.save(found, sys.argv[1])
    destroy_process_group()
