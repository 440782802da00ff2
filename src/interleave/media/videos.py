"""Videos to pictures: which frames are shown, and a time limit for reading them. Readers are in readers.py."""

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from PIL import Image

from ..core.errors import BadSample, InputError
from .images import existing, list_frames, load_image, uniform
from .video_readers import Clip, open_clip

Sampling = Literal["uniform", "fps", "keyframes"]
"""``uniform``: spread over all frames, as published. ``fps``: so many a second of the clip's own clock, spread over
these where they are too many. ``keyframes``: spread over the frames that are stored whole, which are read fastest."""

T = TypeVar("T")


def load_frames(
    data: Any,
    count: int,
    reader: str = "auto",
    sampling: Sampling = "uniform",
    fps: float | None = None,
    timeout: float = 60.0,
) -> tuple[list[Image.Image], list[float]]:
    """At most ``count`` frames of a video file (a path, or its bytes), a folder of frames or a list of pictures.

    Uniform frames are chosen as in the paper, ``linspace(0, n - 1, count)`` rounded down. Returns them with their times
    in seconds; frames without a clock are one second apart. timeout: seconds after which reading a file is given up.
    Raises BadSample, and InputError for options that go together with no file.
    """
    _check(count, sampling, fps, timeout)
    if isinstance(data, bytes) or (isinstance(data, (str, Path)) and existing(data).is_file()):
        return within(timeout, lambda: _read(data, count, reader, sampling, fps), _called(data))
    pictures = list_frames(data)
    chosen = choose([float(i) for i in range(len(pictures))], list(range(len(pictures))), count, sampling, fps)
    return [load_image(pictures[i]) for i in chosen], [float(i) for i in chosen]


def choose(
    times: Sequence[float], keyframes: Sequence[int], count: int, sampling: Sampling, fps: float | None
) -> list[int]:
    """Which of the frames at ``times`` are shown."""
    among = list(range(len(times)))
    if sampling == "keyframes":
        among = list(keyframes) or among
    elif sampling == "fps" and fps:
        # the first frame of each interval of the clock
        ticks = [math.floor((time - times[0]) * fps + 1e-6) for time in times]
        among = [i for i, tick in enumerate(ticks) if i == 0 or tick > ticks[i - 1]]
    return [among[i] for i in uniform(len(among), count)]


def within(seconds: float, read: Callable[[], T], name: str) -> T:
    """What ``read`` returns or raises, unless it takes too long. Raises BadSample.

    A decoder that hangs cannot be stopped: its thread is left behind, which ends with the process.
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


def _read(
    data: Any, count: int, reader: str, sampling: Sampling, fps: float | None
) -> tuple[list[Image.Image], list[float]]:
    clip: Clip = open_clip(data, reader, _called(data))
    if not clip.times:
        raise BadSample("broken video", f"{_called(data)} has a video stream without frames")
    chosen = choose(clip.times, clip.keyframes, count, sampling, fps)
    images = clip.get(chosen)
    first = clip.times[0]
    return images, [clip.times[i] - first for i in chosen]


def _called(data: Any) -> str:
    return f"a video of {len(data)} bytes" if isinstance(data, bytes) else str(data)


def _check(count: int, sampling: str, fps: float | None, timeout: float) -> None:
    if count < 1:
        raise InputError(f"a video is shown with {count} frames; it must be at least 1")
    if sampling == "fps" and not (fps and fps > 0):
        raise InputError(f"sampling=fps needs fps above 0, and it is {fps}")
    if not timeout > 0:
        raise InputError(f"the time limit of a video is {timeout} s; it must be above 0")
