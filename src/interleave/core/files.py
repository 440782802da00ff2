"""Files and folders that take their name when they are complete: the only place that writes beside and renames."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write a file or a folder to, which becomes ``target`` when all went well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    _remove(part)
    yield part
    if target.is_dir():  # a folder is no place to rename to
        old = target.with_name(f".{target.name}.old")
        _remove(old)
        target.rename(old)
        part.rename(target)
        _remove(old)
    else:
        part.replace(target)


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """A folder to write into that becomes ``folder`` when all went well, and vanishes where it did not."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(
            f"{folder} exists and is not empty; nothing is written over it: give another name or remove it"
        )
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
