"""Files in a folder or in a store, through fsspec: what the readers of tables and archives share."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import fsspec

from interleave import BadSample, InputError


class Store:
    """The files of a pattern. path: local, or with a scheme such as s3://; storage: options of the store.

    A connection belongs to the process that made it: a loader worker makes its own. Raises InputError.
    """

    def __init__(self, path: str, storage: Mapping[str, Any] | None) -> None:
        self.path, self.storage = path, dict(storage or {})
        self._opened: tuple[int, Any] | None = None
        try:
            self.inside = fsspec.core.url_to_fs(path, **self.storage)[1]
        except failures() as error:
            raise InputError(f"{path} cannot be reached: {_told(error, path)}") from None

    @property
    def files(self) -> Any:
        """The file system, as this process has it."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), fsspec.core.url_to_fs(self.path, **self.storage)[0]
        return self._opened[1]

    def names(self, suffix: str) -> list[str]:
        """Files that fit the pattern, or all that end in ``suffix`` below a folder. Raises InputError."""
        try:
            folder = self.files.isdir(self.inside)
            found = self.files.glob(f"{self.inside.rstrip('/')}/**/*{suffix}" if folder else self.inside)
        except failures() as error:
            raise InputError(f"{self.path} cannot be listed: {_told(error, self.path)}") from None
        if not found:
            raise InputError(f"no {suffix} files in {self.path}" if folder else f"no file fits {self.path}")
        return sorted(found)

    def ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes of a file, at once. Raises BadSample."""
        starts, ends = [start for start, _ in spans], [end for _, end in spans]
        try:
            found: list[bytes] = self.files.cat_ranges([name] * len(spans), starts, ends, on_error="raise")
        except failures() as error:
            raise BadSample("unreadable file", f"{name} cannot be read: {_told(error, name)}") from None
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": None}


def failures(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What stores raise when something is not there or not allowed, and ``more``."""
    boto = sys.modules.get("botocore.exceptions")
    return (OSError, ValueError, ImportError, *more, *((boto.BotoCoreError, boto.ClientError) if boto else ()))


def _told(error: Exception, path: str) -> str:
    if isinstance(error, ImportError):
        scheme = path.partition("://")[0]
        way = ": pip install interleave[s3]" if scheme in ("s3", "s3a") else ""
        return f"{' '.join(str(error).split())}{way}"
    return " ".join(str(error).split())[:300] or type(error).__name__
