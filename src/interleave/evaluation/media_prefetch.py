"""Media decoded once, by threads and ahead of their use, in bounded memory: the only place that knows when two are the
same piece."""

import hashlib
import pickle
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from ..core.sample import Media
from ..core.types import Visual
from ..interfaces.model_parts import ModalityAdapter

MAX_PREFETCHED_BYTES = 2**30
"""Of pixels that wait at once."""


def media_key(media: Media) -> str:
    """A hash of a piece of media: the same for the same file, and for the same content in memory.

    Files are not opened: a path stands for what it names.
    """
    digest = hashlib.sha256(media.kind.encode())
    for part in _parts_to_hash(media.data):
        digest.update(part)
    return digest.hexdigest()


def _parts_to_hash(data: object) -> Iterator[bytes]:
    """Each part begins with its type, so that ``"a"`` and ``b"a"`` differ, and a list with its length."""
    if isinstance(data, (str, Path)):
        yield b"path" + str(data).encode(errors="surrogateescape")
    elif isinstance(data, bytes):
        yield b"bytes" + data
    elif isinstance(data, (list, tuple)):
        yield f"list {len(data)}".encode()
        for part in data:
            yield from _parts_to_hash(part)
    else:
        yield b"object" + pickle.dumps(data)


class Prepared:
    """Adapters that prepare as the model's do, but each piece of media once while it is kept.

    adapters: what the renderer takes in place of the model's adapters.
    """

    def __init__(
        self, adapters: Mapping[str, ModalityAdapter], num_workers: int, limit: int = MAX_PREFETCHED_BYTES
    ) -> None:
        """num_workers: threads. limit: bytes of pixels; what does not fit is prepared when it is used."""
        self.limit = limit
        self.bytes = 0  # of all visuals in ``_kept``
        self.adapters: Mapping[str, ModalityAdapter] = {
            kind: _KeepingAdapter(self, kind, adapter) for kind, adapter in adapters.items()
        }
        self._adapters = adapters
        self._pool = ThreadPoolExecutor(num_workers, "prepare")
        self._lock = Lock()
        self._kept: dict[str, Future[Visual | None]] = {}  # None: there was no room

    def want(self, media: Iterable[Media]) -> None:
        """Begin to prepare them in the background. A kind that the model does not have is left to the renderer."""
        for piece in media:
            key = media_key(piece)
            if key not in self._kept and piece.kind in self._adapters:
                self._kept[key] = self._pool.submit(self._prepare_if_room, piece)

    def get(self, media: Media) -> Visual:
        """What the adapter makes of it, prepared now if it is not kept. Raises BadSample."""
        kept = self._kept.get(media_key(media))  # a future, which may not be done yet
        visual = kept.result() if kept else None
        return visual or self._adapters[media.kind].prepare(media.data)

    def keep(self, media: Iterable[Media]) -> None:
        """Forget everything else."""
        wanted = {media_key(piece) for piece in media}
        for key in list(self._kept):
            if key not in wanted:
                self._forget(key)

    def close(self) -> None:
        """End the threads; what has begun is finished in the background."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _forget(self, key: str) -> None:
        future = self._kept.pop(key)
        if future.cancel() or future.exception():  # never begun, or failed: nothing was counted
            return
        visual = future.result()
        if visual:
            with self._lock:
                self.bytes -= visual.pixel_values.nbytes

    def _prepare_if_room(self, media: Media) -> Visual | None:
        if self.bytes >= self.limit:  # before the size is known, so that it can be exceeded by what is under way
            return None
        visual = self._adapters[media.kind].prepare(media.data)
        with self._lock:
            self.bytes += visual.pixel_values.nbytes
        return visual


class _KeepingAdapter(ModalityAdapter):
    """An adapter for the renderer that asks ``Prepared`` instead of preparing by itself."""

    def __init__(self, prepared: Prepared, kind: str, adapter: ModalityAdapter) -> None:
        super().__init__(adapter.vision, adapter.fit)
        self.samples = adapter.samples
        self._prepared, self._kind, self._adapter = prepared, kind, adapter

    def prepare(self, data: object) -> Visual:
        return self._prepared.get(Media(self._kind, data))

    def example(self) -> object:
        return self._adapter.example()
