"""Files and folders that take their name when they are complete: the only place that writes beside and renames.

Whoever is interrupted leaves a hidden ``.NAME.part`` behind, never half a file under the name that others read.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import InputError

JSONObject = Mapping[str, Any]
"""An object of a JSON file: whatever JSON can hold, until its fields are looked at."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write a file or a folder to. It is renamed to ``target`` at the end, in place of what stood there.

    Where the block raises, ``target`` stays as it was and what was written is removed. Missing parent folders are made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    remove(part)  # of a run that was interrupted
    try:
        yield part
    except BaseException:
        remove(part)
        raise
    if target.is_dir():  # the system renames over a file, but not over a folder: move the old one away first
        old = target.with_name(f".{target.name}.old")
        remove(old)
        target.rename(old)
        part.rename(target)
        remove(old)
    else:
        part.replace(target)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into. It is renamed to ``folder`` at the end, and removed where the block raises.

    Raises InputError where ``folder`` exists and is not empty.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(
            f"{folder} exists and is not empty; nothing is written over it: give another name or remove it"
        )
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was interrupted
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that it holds; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
