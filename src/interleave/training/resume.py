"""Lightning's checkpoints of a run: written so that a kill at any moment leaves a whole one, and found again."""

import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from ..core.errors import InputError
from ..core.files import replacing

log = logging.getLogger(__name__)

SHARDED = (".metadata", "meta.pt")
"""What a folder of a checkpoint in shards holds once it is written."""


class WholeFiles(TorchCheckpointIO):
    """Each file takes its name when it is complete. Lightning's own way copies across file systems, under the name."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with replacing(Path(path)) as part, part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())


def last_checkpoint(path: Path) -> Path:
    """What to resume from: a checkpoint itself, or the last whole one of a run's folder. Raises InputError."""
    if path.suffix == ".ckpt" and path.exists():
        if not whole(path):
            raise InputError(f"{path} is incomplete: its writing was interrupted. Name the run's folder instead")
        return path
    last, found = path / "checkpoints" / "last.ckpt", checkpoints_in(path)
    if not found:
        state = "is incomplete, and there is no other" if last.exists() else "does not exist"
        raise InputError(f"nothing to resume in {path}: {last} {state}")
    if last.exists() and last not in found:
        log.warning("%s cannot be read, its writing was interrupted; going on from %s", last, found[-1].name)
    return found[-1]


def checkpoints_in(run: Path) -> list[Path]:
    """The whole checkpoints of a run's folder, the newest last: those of training, and those that Lightning leaves
    beside them when SLURM ends a job."""
    last = run / "checkpoints" / "last.ckpt"
    every = [*last.parent.glob("*.ckpt"), *run.glob("hpc_ckpt_*.ckpt")]
    return sorted((p for p in every if whole(p)), key=lambda p: (p.stat().st_mtime, p == last))


def whole(path: Path) -> bool:
    """Whether a checkpoint was written to its end, where a file has its table of contents and a folder its metadata."""
    return all((path / name).exists() for name in SHARDED) if path.is_dir() else zipfile.is_zipfile(path)
