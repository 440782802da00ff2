"""Videos to pictures: which frames are shown, and a time limit for reading them. ``video_readers`` opens the files."""

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from ..core.errors import BadSample, InputError
from .images import existing_path, list_frames, load_image, uniform
from .video_readers import FrameArray, VideoFile, open_clip

Sampling = Literal["uniform", "fps", "keyframes"]
"""Which frames of a video are shown.

``uniform``: spread evenly over all frames, as the published models were trained.
``fps``: so many for each second of the clip's own times; where these are too many, spread evenly over them.
``keyframes``: spread evenly over the frames that are stored whole, which are read fastest.
"""

T = TypeVar("T")


def load_frames(
    data: object,
    count: int,
    reader: str = "auto",
    sampling: Sampling = "uniform",
    fps: float | None = None,
    timeout: float = 60.0,
) -> tuple[list[Image.Image], list[float]]:
    """Frames of a video as RGB pictures, and their times in seconds from its first frame.

    data: a video file (a path, or its bytes), a folder of frames, or a list of pictures. A folder and a list have no
        times: their frames count as one second apart.
    count: the most frames that are returned.
    reader: name of the library that decodes a file, or ``auto``.
    sampling: which frames are chosen.
    fps: frames a second, for ``sampling="fps"`` alone.
    timeout: seconds after which reading a file is given up.

    Raises BadSample for a video that cannot be used, and InputError for options that no video can be read with.
    """
    frames, times = read_frames(data, count, reader, sampling, fps, timeout)
    return [load_image(frame) for frame in frames], times


def read_frames(
    data: object, count: int, reader: str, sampling: Sampling, fps: float | None, timeout: float
) -> tuple[Sequence[object], list[float]]:
    """As ``load_frames``, with frames as what ``load_image`` takes: those of a file as arrays (H, W, 3) uint8, others
    as they are in ``data``, unopened."""
    _check(count, sampling, fps, timeout)
    if isinstance(data, bytes) or (isinstance(data, (str, Path)) and existing_path(data).is_file()):
        file: VideoFile = data
        return with_timeout(timeout, lambda: _read_file(file, count, reader, sampling, fps), _display_name(file))
    pictures = list_frames(data)
    times = [float(number) for number in range(len(pictures))]
    chosen = choose_frames(times, list(range(len(pictures))), count, sampling, fps)
    return [pictures[number] for number in chosen], [float(number) for number in chosen]


def choose_frames(
    times: Sequence[float], keyframes: Sequence[int], count: int, sampling: Sampling, fps: float | None
) -> list[int]:
    """Numbers of at most ``count`` frames, in ascending order, out of those at ``times`` (seconds)."""
    candidates = list(range(len(times)))
    if sampling == "keyframes":
        candidates = list(keyframes) or candidates
    elif sampling == "fps" and fps:
        # time is cut into intervals of 1 / fps seconds; of each one that has frames, the first frame is a candidate
        intervals = [math.floor((time - times[0]) * fps + 1e-6) for time in times]  # 1e-6: times are rounded
        candidates = [i for i, interval in enumerate(intervals) if i == 0 or interval > intervals[i - 1]]
    return [candidates[i] for i in uniform(len(candidates), count)]


def with_timeout(seconds: float, read: Callable[[], T], name: str) -> T:
    """What ``read`` returns or raises. Raises BadSample where that takes longer than ``seconds``; ``name`` is read.

    Python cannot stop a decoder that hangs, so it runs in a thread of its own. A thread that is given up goes on in
    the background until the process ends, which it does not hold up.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(read())
        except BaseException as error:  # noqa: BLE001 (it is raised again, in the thread that waits)
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise BadSample("timeout", f"{name} took longer than {seconds:g} s to read; raise modality.video.timeout")
    return done[0]


def _read_file(
    file: VideoFile, count: int, reader: str, sampling: Sampling, fps: float | None
) -> tuple[list[FrameArray], list[float]]:
    clip = open_clip(file, reader, _display_name(file))
    if not clip.times:
        raise BadSample("broken video", f"{_display_name(file)} has a video stream without frames")
    chosen = choose_frames(clip.times, clip.keyframes, count, sampling, fps)
    frames = clip.get(chosen)
    start = clip.times[0]  # some files begin their clock elsewhere than at 0
    return frames, [clip.times[number] - start for number in chosen]


def _display_name(file: VideoFile) -> str:
    return f"a video of {len(file)} bytes" if isinstance(file, bytes) else str(file)


def _check(count: int, sampling: str, fps: float | None, timeout: float) -> None:
    """Raises InputError for options that no video can be read with."""
    if count < 1:
        raise InputError(f"a video is shown with {count} frames; it must be at least 1")
    if sampling == "fps" and not (fps and fps > 0):
        raise InputError(f"sampling=fps needs fps above 0, and it is {fps}")
    if not timeout > 0:  # NaN, too
        raise InputError(f"the time limit of a video is {timeout} s; it must be above 0")
