"""Lightning's checkpoints of a run: written so that a kill at any moment leaves a whole one, and found again."""

import logging
import os
import zipfile
from pathlib import Path

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from ..core.errors import InputError
from ..core.files import replacing

log = logging.getLogger(__name__)

SHARDED_FILES = (".metadata", "meta.pt")
"""Files that the folder of a sharded checkpoint holds once it is complete: Lightning writes them last."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes each checkpoint beside its place and renames it when it is complete.

    Lightning's own way, where the file systems differ, copies to the final name, so that a kill leaves a part there.
    """

    def save_checkpoint(self, checkpoint: dict[str, object], path: str | Path, storage_options: object = None) -> None:
        with replacing(Path(path)) as part, part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())  # on the disk before the rename, so that a power cut cannot swap the two


def last_checkpoint(path: Path) -> Path:
    """The checkpoint to resume from.

    path: a checkpoint, which is returned itself, or a run's folder, whose newest complete checkpoint is. Raises
    InputError where there is none.
    """
    if path.suffix == ".ckpt" and path.exists():
        if not is_complete(path):
            raise InputError(f"{path} is incomplete: its writing was interrupted. Name the run's folder instead")
        return path
    last = path / "checkpoints" / "last.ckpt"
    complete = complete_checkpoints(path)
    if not complete:
        state = "is incomplete, and there is no other" if last.exists() else "does not exist"
        raise InputError(f"nothing to resume in {path}: {last} {state}")
    newest = complete[-1]
    if last.exists() and last not in complete:
        log.warning("%s cannot be read, its writing was interrupted; going on from %s", last, newest.name)
    return newest


def complete_checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a run's folder by time, the newest last: those of training in ``checkpoints/``, and
    those that Lightning leaves beside that folder when SLURM ends a job (``hpc_ckpt_*.ckpt``)."""
    last = run / "checkpoints" / "last.ckpt"
    every = [*last.parent.glob("*.ckpt"), *run.glob("hpc_ckpt_*.ckpt")]
    complete = [path for path in every if is_complete(path)]
    return sorted(complete, key=lambda path: (path.stat().st_mtime, path == last))  # of the same age, last.ckpt


def is_complete(path: Path) -> bool:
    """Whether a checkpoint was written to its end: a file then has its table of contents, a folder its metadata."""
    if path.is_dir():
        return all((path / name).exists() for name in SHARDED_FILES)
    return zipfile.is_zipfile(path)  # torch.save writes zip files, whose table of contents comes last
