"""Small video files of every kind that the tests need."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FRAMES = 20


def write_video(path: Path, frames: int = FRAMES, group: int = 12, stamps: Sequence[int] | None = None) -> Path:
    """Each frame is grey, and lighter than the one before it; its left half is darker. Ten a second.

    group: frames from one key frame to the next. stamps: of the frames in hundredths of a second, for a variable rate.
    """
    with av.open(str(path), "w") as container:
        options = {"crf": "0", "preset": "ultrafast", "g": str(group), "keyint_min": str(group), "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv444p"
        stream.codec_context.time_base = Fraction(1, 100)
        for i in range(frames):
            picture = np.full((32, 32, 3), level(i), np.uint8)
            picture[:, :16] //= 2
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (stamps[i] if stamps else 10 * i), Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def level(number: int) -> int:
    return 10 + 5 * (number % 45)


def number_of(picture: np.ndarray) -> int:
    """Which frame a picture is, by its lighter half."""
    return round((float(picture.max()) - 10) / 5)


def rotate(path: Path) -> Path:
    """Say in the file that it must be turned by 90 degrees clockwise, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30)
    path.write_bytes(bytes(data))
    return path


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
