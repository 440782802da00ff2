"""Media decoded once, by threads and ahead of their use, in bounded memory: the only place that knows when two are the
same piece."""

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from ..core.sample import Media
from ..core.types import Visual
from ..interfaces.model_parts import ModalityAdapter

KEPT = 2**30
"""Bytes of pixels that wait at once."""


def media_key(media: Media) -> str:
    """What is the same file, or holds the same, has the same key; nothing is opened."""
    digest = hashlib.sha256(media.kind.encode())
    _feed(digest, media.data)
    return digest.hexdigest()


def _feed(digest: Any, data: Any) -> None:
    if isinstance(data, (str, Path)):
        digest.update(b"path" + str(data).encode(errors="surrogateescape"))
    elif isinstance(data, bytes):
        digest.update(b"bytes" + data)
    elif isinstance(data, (list, tuple)):
        digest.update(f"list {len(data)}".encode())
        for part in data:
            _feed(digest, part)
    else:
        digest.update(b"object" + pickle.dumps(data))


class Prepared:
    """``adapters`` prepare as the model's do, but each piece of media once while it is kept."""

    def __init__(self, adapters: Mapping[str, ModalityAdapter], num_workers: int, limit: int = KEPT) -> None:
        """num_workers: threads. limit: bytes; what does not fit is prepared when it is used."""
        self._adapters, self.limit, self.bytes = adapters, limit, 0
        self.adapters: Any = {kind: _Door(self, kind) for kind in adapters}
        self._pool = ThreadPoolExecutor(num_workers, "prepare")
        self._lock = Lock()
        self._kept: dict[str, Future[Visual | None]] = {}

    def want(self, media: Iterable[Media]) -> None:
        """Begin with them, in the background."""
        for piece in media:
            name = media_key(piece)
            if name not in self._kept and piece.kind in self._adapters:
                self._kept[name] = self._pool.submit(self._prepare_if_room, piece)

    def get(self, media: Media) -> Visual:
        """Raises BadSample."""
        kept = self._kept.get(media_key(media))
        visual = kept.result() if kept else None
        return visual or self._adapters[media.kind].prepare(media.data)

    def keep(self, media: Iterable[Media]) -> None:
        """Forget everything else."""
        wanted = {media_key(piece) for piece in media}
        for name in [name for name in self._kept if name not in wanted]:
            future = self._kept.pop(name)
            if not future.cancel() and not future.exception() and (visual := future.result()):
                with self._lock:
                    self.bytes -= visual.pixel_values.nbytes

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _prepare_if_room(self, media: Media) -> Visual | None:
        if self.bytes >= self.limit:
            return None
        visual = self._adapters[media.kind].prepare(media.data)
        with self._lock:
            self.bytes += visual.pixel_values.nbytes
        return visual


class _Door(NamedTuple):
    """What the renderer takes for an adapter."""

    prepared: Prepared
    kind: str

    def prepare(self, data: Any) -> Visual:
        return self.prepared.get(Media(self.kind, data))
