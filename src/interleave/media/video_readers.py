"""Video files to frames by number, with one interface over several libraries: the only place that decodes video."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import av
import numpy as np
from av.codec.context import ThreadType
from numpy.typing import NDArray

from ..core.errors import BadSample, InputError, one_line

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

VideoFile = Path | str | bytes
"""A path, or the content of a file."""

FrameArray = NDArray[np.uint8]
"""An upright RGB picture, (H, W, 3)."""

MIN_SHARE_FOUND = 0.9
"""Of the frames that a file claims, and of those that are asked for, so many must be there; fewer and it was cut."""


class Clip(Protocol):
    """An opened video file.

    times: of all its frames in seconds, in the order in which they are shown.
    keyframes: numbers of the frames that are stored whole; all others are stored as changes to those before them.
    """

    times: Sequence[float]
    keyframes: Sequence[int]

    def get(self, chosen: Sequence[int]) -> list[FrameArray]:
        """The frames of these numbers, which ascend. Raises BadSample."""


def open_clip(data: VideoFile, reader: str, name: str) -> Clip:
    """Open a video file with the reader of this name, a key of ``READERS``, or ``auto`` for the first of them.

    name: what errors call the file. Raises BadSample for a broken file, and InputError for a reader that is unknown or
    not installed.
    """
    if reader == "auto":
        reader = next(iter(READERS))  # PyAV, which is always installed
    elif reader not in READERS:
        raise InputError(f"no video reader {reader!r}; choose auto or one of {', '.join(READERS)}")
    return READERS[reader](data, name)


class _Packet(NamedTuple):
    """A stored frame. pts: its presentation time, in units of the stream's time base."""

    pts: int
    is_keyframe: bool


class PyAV:
    """Reads with PyAV, FFmpeg's bindings.

    The packets of a file tell the times of all frames without decoding one; then only what leads to a wanted frame is
    decoded: from the key frame before it.
    """

    times: Sequence[float]
    keyframes: Sequence[int]

    def __init__(self, data: VideoFile, name: str) -> None:
        self.data = data
        self.name = name
        with self._open() as (container, stream):
            claimed = stream.frames  # 0 where the file does not say
            time_base = stream.time_base  # seconds for one unit of pts
            packets = _shown_packets(container, stream)
        assert time_base is not None  # FFmpeg sets it for every stream that it opens
        if len(packets) < MIN_SHARE_FOUND * claimed:
            raise BadSample("truncated video", f"{name} claims {claimed} frames and holds {len(packets)}")
        self.stamps = [packet.pts for packet in packets]
        self.times = [float(pts * time_base) for pts in self.stamps]
        self.keyframes = [number for number, packet in enumerate(packets) if packet.is_keyframe]

    def get(self, chosen: Sequence[int]) -> list[FrameArray]:
        """As ``Clip.get``. A frame that does not decode is replaced by the nearest that does, if these are few."""
        wanted = {self.stamps[number] for number in chosen}
        found: dict[int, FrameArray] = {}  # pts -> picture
        with self._open() as (container, stream):
            self._decode_by_seeking(container, stream, wanted, found)
        if len(found) < len(wanted):  # seeking goes astray in some edited files: read this one from its beginning
            with self._open() as (container, stream):
                for frame in container.decode(stream):
                    if frame.pts is not None and frame.pts in wanted:
                        found[frame.pts] = _upright(frame)
        missing = len(wanted) - len(found)
        if missing > (1 - MIN_SHARE_FOUND) * len(wanted):
            raise BadSample("truncated video", f"{self.name}: {missing} of {len(wanted)} frames do not decode")
        return [found[_nearest(self.stamps[number], found)] for number in chosen]

    def _decode_by_seeking(
        self, container: "InputContainer", stream: "VideoStream", wanted: set[int], found: dict[int, FrameArray]
    ) -> None:
        """Put the pictures of the ``wanted`` pts into ``found``, as far as seeking to key frames leads to them."""
        reached = -1  # the last frame that was seen so far, or the key frame that was tried last
        while remaining := wanted - found.keys():
            next_wanted = self.stamps.index(min(remaining))
            keyframe = max((number for number in self.keyframes if number <= next_wanted), default=0)
            if keyframe <= reached:
                return  # what follows this key frame was decoded, and the frame was not there
            container.seek(self.stamps[keyframe], stream=stream)
            reached = max(self._decode(container, stream, remaining, found), keyframe)

    def _decode(
        self, container: "InputContainer", stream: "VideoStream", wanted: set[int], found: dict[int, FrameArray]
    ) -> int:
        """Decode until nothing more is wanted, or until the next wanted frame lies behind another key frame.

        Puts wanted pictures into ``found``. Returns the number of the last frame seen, -1 where there was none.
        """
        numbers = {pts: number for number, pts in enumerate(self.stamps)}
        last = -1
        for frame in container.decode(stream):
            if frame.pts is None:  # without a time it is none that was asked for
                continue
            last = max(last, numbers.get(frame.pts, -1))
            if frame.pts in wanted:
                found[frame.pts] = _upright(frame)
            ahead = [pts for pts in wanted if pts > frame.pts]
            if not ahead or self._has_keyframe(last, numbers[min(ahead)]):
                break
        return last

    def _has_keyframe(self, after: int, up_to: int) -> bool:
        """Whether a key frame stands behind frame ``after`` and not behind frame ``up_to``."""
        return any(after < number <= up_to for number in self.keyframes)

    @contextmanager
    def _open(self) -> Iterator[tuple["InputContainer", "VideoStream"]]:
        """The file and its first video stream. Whatever FFmpeg raises inside becomes BadSample."""
        try:
            with av.open(_source(self.data), "r") as container:
                if not container.streams.video:
                    raise BadSample("no video stream", f"{self.name} has no video stream")
                stream = container.streams.video[0]
                stream.thread_type = ThreadType.AUTO  # decode several frames at a time where the codec can
                yield container, stream
        except BadSample:  # it is a ValueError, too
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            raise BadSample("broken video", f"{self.name} cannot be decoded: {one_line(error)}") from None


class TorchCodec:
    """Reads with TorchCodec, which needs the system's FFmpeg beside the package."""

    def __init__(self, data: VideoFile, name: str) -> None:
        try:
            from torchcodec.decoders import VideoDecoder
        except (ImportError, RuntimeError, OSError):
            raise InputError(
                "reader 'torchcodec' does not work here: install interleave[torchcodec] and the system's ffmpeg, "
                "or use pyav"
            ) from None
        self.name = name
        index = PyAV(data, name)  # the same times and the same checks with every reader
        self.times = index.times
        self.keyframes = index.keyframes
        try:
            self.decoder = VideoDecoder(data if isinstance(data, bytes) else str(data), num_ffmpeg_threads=1)
        except (RuntimeError, ValueError) as error:
            raise BadSample("broken video", f"{name} cannot be decoded: {one_line(error)}") from None

    def get(self, chosen: Sequence[int]) -> list[FrameArray]:
        """As ``Clip.get``."""
        try:
            frames = self.decoder.get_frames_at(list(chosen)).data  # (F, 3, H, W) uint8
        except (RuntimeError, IndexError, ValueError) as error:
            raise BadSample("broken video", f"{self.name} cannot be decoded: {one_line(error)}") from None
        return [frame.permute(1, 2, 0).numpy() for frame in frames]


class Decord:
    """Reads with decord, which has no wheels for Arm or Mac. In edited files it also counts frames that are not meant
    to be shown, so that its numbers are not those of ``times``."""

    def __init__(self, data: VideoFile, name: str) -> None:
        try:
            import decord
        except ImportError:
            raise InputError("reader 'decord' is not installed (it has no wheels for Arm or Mac); use pyav") from None
        self.name = name
        index = PyAV(data, name)  # the same times and the same checks with every reader
        self.times = index.times
        self.keyframes = index.keyframes
        self.failures = (decord.DECORDError, RuntimeError)
        try:
            self.video = decord.VideoReader(_source(data), num_threads=1)
        except self.failures as error:
            raise BadSample("broken video", f"{name} cannot be decoded: {one_line(error)}") from None

    def get(self, chosen: Sequence[int]) -> list[FrameArray]:
        """As ``Clip.get``."""
        try:
            frames = self.video.get_batch(list(chosen)).asnumpy()  # (F, H, W, 3) uint8
        except (*self.failures, IndexError) as error:
            raise BadSample("broken video", f"{self.name} cannot be decoded: {one_line(error)}") from None
        return list(frames)


READERS: Mapping[str, Callable[[VideoFile, str], Clip]] = {
    "pyav": PyAV,
    "torchcodec": TorchCodec,
    "decord": Decord,
}
"""Name of a reader -> what opens a file, in the order of preference; docs/performance.md has the measurements."""


def _shown_packets(container: "InputContainer", stream: "VideoStream") -> list[_Packet]:
    """The frames of a stream in the order in which they are shown, each once.

    An edited file also holds packets that others need for decoding and that are never shown; these are left out.
    """
    shown: set[_Packet] = set()
    for packet in container.demux(stream):
        if packet.pts is not None and packet.size and not packet.is_discard:
            shown.add(_Packet(packet.pts, packet.is_keyframe))
    return sorted(shown)


def _nearest(stamp: int, found: Iterable[int]) -> int:
    return min(found, key=lambda other: abs(other - stamp))


def _source(data: VideoFile) -> io.BytesIO | str:
    """What the libraries open: a stream of bytes or the name of a file."""
    return io.BytesIO(data) if isinstance(data, bytes) else str(data)


def _upright(frame: "VideoFrame") -> FrameArray:
    """The frame turned counter-clockwise by as much as the file says."""
    quarters = {90: 1, 180: 2, 270: 3}.get(frame.rotation % 360, 0)
    return np.rot90(frame.to_ndarray(format="rgb24"), quarters)
