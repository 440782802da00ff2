"""Files in a folder or in an object store such as S3, through fsspec: what the readers of tables and archives share."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

import fsspec

from interleave import BadSample, InputError, one_line


class FileSystem(Protocol):
    """What is used of ``fsspec.AbstractFileSystem``, which has no types of its own."""

    def isdir(self, path: str) -> bool: ...

    def glob(self, pattern: str) -> list[str]: ...

    def open(self, path: str) -> AbstractContextManager[BinaryIO]: ...

    def cat_ranges(
        self, paths: Sequence[str], starts: Sequence[int], ends: Sequence[int], on_error: str
    ) -> list[bytes]: ...


class Store:
    """The files that fit a pattern.

    path: a file, a folder or a pattern, local or with a scheme such as ``s3://``.
    storage: options of the store, such as ``{"endpoint_url": "https://..."}``.

    A connection belongs to the process that made it: after a fork or in a spawned loader worker a new one is made.
    Raises InputError where the store cannot be reached.
    """

    def __init__(self, path: str, storage: Mapping[str, object] | None) -> None:
        self.path = path
        self.storage = dict(storage or {})
        self._opened: tuple[int, FileSystem] | None = None  # process number, connection
        try:
            self.inside: str = fsspec.core.url_to_fs(path, **self.storage)[1]  # the path without its scheme
        except failures() as error:
            raise InputError(f"{path} cannot be reached: {_reason(error, path)}") from None

    @property
    def files(self) -> FileSystem:
        """The file system, connected by this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            connection: FileSystem = fsspec.core.url_to_fs(self.path, **self.storage)[0]
            self._opened = os.getpid(), connection
        return self._opened[1]

    def names(self, suffix: str) -> list[str]:
        """Sorted names of the files that fit the pattern, or of all that end in ``suffix`` below a folder.

        Raises InputError where there are none.
        """
        try:
            folder = self.files.isdir(self.inside)
            found = self.files.glob(f"{self.inside.rstrip('/')}/**/*{suffix}" if folder else self.inside)
        except failures() as error:
            raise InputError(f"{self.path} cannot be listed: {_reason(error, self.path)}") from None
        if not found:
            raise InputError(f"no {suffix} files in {self.path}" if folder else f"no file fits {self.path}")
        return sorted(found)

    def ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several parts of a file, read at once. spans: first byte and the byte after the last. Raises BadSample."""
        starts = [start for start, _ in spans]
        ends = [end for _, end in spans]
        try:
            return self.files.cat_ranges([name] * len(spans), starts, ends, on_error="raise")
        except failures() as error:
            raise BadSample("unreadable file", f"{name} cannot be read: {_reason(error, name)}") from None

    def __getstate__(self) -> dict[str, object]:
        """Without the connection, which another process cannot use."""
        return {**vars(self), "_opened": None}


def failures(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What stores raise when something is not there or not allowed, and ``more``."""
    kinds: tuple[type[Exception], ...] = (OSError, ValueError, ImportError, *more)
    boto = sys.modules.get("botocore.exceptions")  # loaded only where S3 is used
    return (*kinds, boto.BotoCoreError, boto.ClientError) if boto else kinds


def _reason(error: Exception, path: str) -> str:
    """An error on one line; a missing package with the command that installs it."""
    line = one_line(error)
    if isinstance(error, ImportError):
        scheme = path.partition("://")[0]
        return f"{line}: pip install interleave[s3]" if scheme in ("s3", "s3a") else line
    return line
