"""The checkpoints of a run's folder, and which of them a run goes on from."""

from pathlib import Path

from ..core.errors import InputError

LAST = "last"
"""The link to the newest checkpoint, beside the checkpoints."""
FILES_OF_A_CHECKPOINT = (".metadata", "meta.pt")
"""Files that the folder of a complete checkpoint holds beside its tensors."""


def checkpoint_name(step: int) -> str:
    """The name of the folder of a step's checkpoint."""
    return f"step-{step}"


def last_checkpoint(path: Path) -> Path:
    """The checkpoint to resume from.

    path: a checkpoint or a link to one, which is returned, or a run's folder, whose newest complete checkpoint is.
    Raises InputError where there is none.
    """
    if is_complete(path):
        return path.resolve()
    if path.name.startswith(checkpoint_name(0)[:-1]) and path.is_dir():
        raise InputError(f"{path} is incomplete; name the run's folder instead")
    complete = complete_checkpoints(path)
    if not complete:
        raise InputError(f"nothing to resume in {path}: there is no complete checkpoint in {path / 'checkpoints'}")
    return complete[-1]


def complete_checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a run's folder by time, the newest last."""
    complete = [path for path in (run / "checkpoints").glob("step-*") if is_complete(path)]
    return sorted(complete, key=lambda path: ((path / FILES_OF_A_CHECKPOINT[0]).stat().st_mtime_ns, path.name))


def is_complete(path: Path) -> bool:
    """Whether a folder holds a checkpoint, and all of it."""
    return all((path / name).is_file() for name in FILES_OF_A_CHECKPOINT)
