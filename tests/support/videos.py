"""Small video files of every kind that the tests need."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FRAMES = 20
"""Frames of a video unless a test says otherwise."""


def write_video(path: Path, frames: int = FRAMES, group: int = 12, stamps: Sequence[int] | None = None) -> Path:
    """Write a lossless H.264 video of 32 x 32 pixels, ten frames a second. Returns its path.

    Each frame is grey, and lighter than the one before it, so that a frame tells its number; its left half is darker.

    frames: how many.
    group: frames from one key frame to the next.
    stamps: the time of each frame in hundredths of a second, for a variable rate.
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
    """The grey of a frame's right half; it begins anew after 45 frames."""
    return 10 + 5 * (number % 45)


def number_of(picture: np.ndarray) -> int:
    """Which of the first 45 frames a picture is, by its lighter half: the inverse of ``level``."""
    return round((float(picture.max()) - 10) / 5)


def rotate(path: Path) -> Path:
    """Let the file say that it must be turned by 90 degrees clockwise, as phones do. Returns its path."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # of the matrix in the track header; numbers have 16 or 30 binary places
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30)
    path.write_bytes(bytes(data))
    return path


def write_sound(path: Path) -> Path:
    """Write a file with a tenth of a second of silence and no video. Returns its path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
