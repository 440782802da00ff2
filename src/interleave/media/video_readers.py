"""Video files to frames by number, with one interface over several libraries: the only place that decodes video."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import av
from PIL import Image

from ..core.errors import BadSample, InputError

KEPT = 0.9
"""Of the frames that a file claims, so many must be there; fewer and it was cut."""


class Clip(Protocol):
    """An opened file. times: of its frames in seconds, in order. keyframes: numbers of those that are stored whole."""

    times: Sequence[float]
    keyframes: Sequence[int]

    def get(self, chosen: Sequence[int]) -> list[Image.Image]:
        """The frames of these numbers, upright, in ascending order."""


def open_clip(data: Path | str | bytes, reader: str, name: str) -> Clip:
    """By a reader's name, or ``auto`` for the first that is installed. Raises BadSample and InputError."""
    if reader != "auto":
        if reader not in READERS:
            raise InputError(f"no video reader {reader!r}; choose auto or one of {', '.join(READERS)}")
        return READERS[reader](data, name)
    return READERS[next(iter(READERS))](data, name)  # it comes with the package


class PyAV:
    """Packets tell the times of all frames without decoding one; then only what leads to a wanted frame is decoded."""

    def __init__(self, data: Path | str | bytes, name: str) -> None:
        self.data, self.name = data, name
        with self._open() as (container, stream):
            claimed, unit = stream.frames, stream.time_base
            # an edited file holds packets that are decoded and never shown
            shown = (p for p in container.demux(stream) if p.pts is not None and p.size and not p.is_discard)
            packets = sorted({(p.pts, p.is_keyframe) for p in shown})
        if len(packets) < KEPT * claimed:
            raise BadSample("truncated video", f"{name} claims {claimed} frames and holds {len(packets)}")
        self.stamps = [pts for pts, _ in packets]
        self.times = [float(pts * unit) for pts in self.stamps]
        self.keyframes = [i for i, (_, whole) in enumerate(packets) if whole]

    def get(self, chosen: Sequence[int]) -> list[Image.Image]:
        wanted = {self.stamps[i] for i in chosen}
        found: dict[int, Image.Image] = {}
        with self._open() as (container, stream):
            self._by_groups(container, stream, wanted, found)
        if len(found) < len(wanted):  # seeking goes astray in some edited files
            with self._open() as (container, stream):
                found |= {f.pts: _upright(f) for f in container.decode(stream) if f.pts in wanted}
        missing = len(wanted) - len(found)
        if missing > (1 - KEPT) * len(wanted):
            raise BadSample("truncated video", f"{self.name}: {missing} of {len(wanted)} frames do not decode")
        return [found[self._nearest(self.stamps[i], found)] for i in chosen]

    @staticmethod
    def _nearest(stamp: int, found: Iterable[int]) -> int:
        return min(found, key=lambda other: abs(other - stamp))

    def _by_groups(self, container: Any, stream: Any, wanted: set[int], found: dict[int, Image.Image]) -> None:
        at = -1
        while left := wanted - found.keys():
            first = self.stamps.index(min(left))
            group = max((k for k in self.keyframes if k <= first), default=0)
            if group <= at:
                return  # it was decoded and did not come out
            container.seek(self.stamps[group], stream=stream)
            at = max(self._decode(container, stream, left, found), group)

    def _decode(self, container: Any, stream: Any, left: set[int], found: dict[int, Image.Image]) -> int:
        """Go on until what is wanted next lies behind another key frame. Returns the number of the last frame seen."""
        ahead, number = sorted(left), {pts: i for i, pts in enumerate(self.stamps)}
        last = -1
        for frame in container.decode(stream):
            last = max(last, number.get(frame.pts, -1))
            if frame.pts in left:
                found[frame.pts] = _upright(frame)
            following = next((pts for pts in ahead if pts > frame.pts), None)
            if following is None and frame.pts >= ahead[-1]:
                break
            if following is not None and any(last < k <= number[following] for k in self.keyframes):
                break
        return last

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        try:
            with av.open(_source(self.data)) as container:
                if not container.streams.video:
                    raise BadSample("no video stream", f"{self.name} has no video stream")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                yield container, stream
        except BadSample:  # a ValueError, too
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            raise BadSample("broken video", f"{self.name} cannot be decoded: {_line(error)}") from None


class TorchCodec:
    """Needs the system's ffmpeg beside the package."""

    def __init__(self, data: Path | str | bytes, name: str) -> None:
        try:
            from torchcodec.decoders import VideoDecoder
        except (ImportError, RuntimeError, OSError):
            raise InputError(
                "reader 'torchcodec' does not work here: install interleave[torchcodec] and the system's ffmpeg, "
                "or use pyav"
            ) from None
        self.known = PyAV(data, name)  # the same clock and the same checks as all readers
        self.times, self.keyframes, self.name = self.known.times, self.known.keyframes, name
        try:
            self.decoder = VideoDecoder(data if isinstance(data, bytes) else str(data), num_ffmpeg_threads=1)
        except (RuntimeError, ValueError) as error:
            raise BadSample("broken video", f"{name} cannot be decoded: {_line(error)}") from None

    def get(self, chosen: Sequence[int]) -> list[Image.Image]:
        try:
            frames = self.decoder.get_frames_at(list(chosen)).data
        except (RuntimeError, IndexError, ValueError) as error:
            raise BadSample("broken video", f"{self.name} cannot be decoded: {_line(error)}") from None
        return [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in frames]


class Decord:
    """Has no wheels for Arm or Mac. In edited files it counts frames that are not meant to be shown."""

    def __init__(self, data: Path | str | bytes, name: str) -> None:
        try:
            import decord
        except ImportError:
            raise InputError("reader 'decord' is not installed (it has no wheels for Arm or Mac); use pyav") from None
        self.known = PyAV(data, name)  # the same clock and the same checks as all readers
        self.times, self.keyframes, self.name = self.known.times, self.known.keyframes, name
        self.failures = (decord.DECORDError, RuntimeError)
        try:
            self.video = decord.VideoReader(_source(data), num_threads=1)
        except self.failures as error:
            raise BadSample("broken video", f"{name} cannot be decoded: {_line(error)}") from None

    def get(self, chosen: Sequence[int]) -> list[Image.Image]:
        try:
            frames = self.video.get_batch(list(chosen)).asnumpy()
        except (*self.failures, IndexError) as error:
            raise BadSample("broken video", f"{self.name} cannot be decoded: {_line(error)}") from None
        return [Image.fromarray(frame) for frame in frames]


READERS: Mapping[str, Callable[[Path | str | bytes, str], Clip]] = {
    "pyav": PyAV,
    "torchcodec": TorchCodec,
    "decord": Decord,
}
"""In the order in which ``auto`` prefers them (docs/performance.md has the measurements)."""


def _source(data: Path | str | bytes) -> Any:
    return io.BytesIO(data) if isinstance(data, bytes) else str(data)


def _upright(frame: Any) -> Image.Image:
    """The file says by how much it must be turned, counter-clockwise."""
    turns = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
    image: Image.Image = frame.to_image()
    turn = frame.rotation % 360
    return image.transpose(turns[turn]) if turn in turns else image


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
