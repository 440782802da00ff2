"""The data side in numbers: records, pictures and frames a second, memory of workers, start and resume, packing.

    python benchmarks/data.py [--records 1200000] [--only records images videos packing]

Everything is made by the script, in a temporary folder: annotation files of M4-Instruct's schema, a JPEG with grain and
two clips.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import balance
import loading
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import interleave as il
from interleave.media.images import uniform
from interleave.media.video_readers import READERS, open_clip


class Clip(NamedTuple):
    """A video file to be made. width, height: in pixels. frames: in all. group: from one key frame to the next."""

    width: int
    height: int
    frames: int
    group: int


CLIPS: Mapping[str, Clip] = {
    "720p, 10 s, a key frame every 250": Clip(1280, 720, 240, 250),
    "360p, 60 s, a key frame every 30": Clip(640, 360, 1440, 30),
}
FRAMES, REPEATS = 16, 3
"""Frames read of each clip, and how often each measurement is made; the best one counts."""


def best(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Processor seconds, of all threads, of the fastest of several times: other work on the machine hardly counts."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def texture(width: int, height: int, step: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3) smooth shapes, which move with ``step``, and fine grain.

    So it is neither trivial nor impossible to compress.
    """
    rng, (y, x) = np.random.default_rng(step), np.mgrid[:height, :width]
    waves = ((1, 0.3), (0.2, 1), (0.7, -0.6))  # one direction for each colour
    smooth = [120 + 80 * np.sin((x * a + y * b) / 90 + step / 8) for a, b in waves]
    grain = rng.normal(0, 2, (height, width, 1))
    return np.clip(np.stack(smooth, -1) + grain, 0, 255).astype(np.uint8)


def write_clip(path: Path, clip: Clip) -> None:
    """An H.264 file of 24 frames a second."""
    with av.open(str(path), "w") as container:
        # without scene cuts (sc_threshold), key frames stand exactly ``group`` frames apart
        group = str(clip.group)
        options = {"preset": "veryfast", "g": group, "keyint_min": group, "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=24, options=options)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        pictures = [texture(clip.width, clip.height, step) for step in range(24)]
        for i in range(clip.frames):
            step = min(i % 46, 46 - i % 46)  # 0 to 23 and back
            frame = av.VideoFrame.from_ndarray(pictures[step], format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def measure_loading(what: str, folder: Path) -> dict[str, float]:
    """Numbers of one measurement of loading.py, which runs in a process of its own."""
    environment = {**os.environ, "INTERLEAVE_CACHE": str(folder / "cache")}
    command = [sys.executable, loading.__file__, what, str(folder)]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    numbers = {}
    for pair in printed.split()[-9:]:  # its last line; libraries may print before it
        name, value = pair.split("=")
        numbers[name] = float(value)
    return numbers


def records(folder: Path, count: int) -> None:
    """About ``count`` records of M4-Instruct's schema: index, read, start a training's data side, resume it."""
    written = loading.write(folder, count)
    size = sum(path.stat().st_size for path in folder.glob("*.json")) / 1e6  # MB
    index = measure_loading("index", folder)  # first, as it makes the index that the others find
    start = measure_loading("start", folder)
    read = measure_loading("read", folder)
    resume = measure_loading("resume", folder)
    order = measure_loading("order", folder)
    print(f"| {written:,} records in {size:.0f} MB of JSON | |\n|---|--:|")
    print(f"| indexing, once | {index['seconds']:.1f} s, {written / index['seconds']:,.0f} records/s |")
    print(f"| reading samples at random, without pictures | {read['samples/s']:,.0f} /s of a core |")
    print(f"| start: data sets and order | {start['built']:.1f} s |")
    print(f"| start: to the first batch, with {loading.WORKERS} workers | {start['first']:.1f} s |")
    print(f"| a worker after {loading.BATCHES} batches: its own memory | {start['own']:.0f} MB |")
    print(f"| the same with its part of what is shared | {start['pss']:.0f} MB |")
    print(f"| the same with all that is shared | {start['rss']:.0f} MB |")
    print(f"| samples, small pictures, {loading.WORKERS} workers | {start['samples/s']:,.0f} /s |")
    print(f"| resume after {loading.CONSUMED:,} samples | {resume['same']:.1f} s |")
    print(f"| the same, from 8 ranks on 1 | {resume['other']:.1f} s |")
    print(f"| a draw: which sample is next, on one of 8 ranks | {order['plain']:.0f} us |")
    print(f"| the same where a sample of its source was lost before | {order['lost']:.0f} us |\n")


def images(folder: Path) -> None:
    """Decoding a JPEG, alone and with what the modality ``image`` makes of it."""
    path = folder / "photo.jpg"
    Image.fromarray(texture(1280, 960)).save(path, quality=90)
    adapter = il.modalities.build({"name": "image"}, vision=il.VisionSpec(384, 27), llm_dim=8)
    whole = best(lambda: [adapter.prepare(path) for _ in range(20)]) / 20
    decoded = best(lambda: [il.load_image(path) for _ in range(20)]) / 20
    print("| JPEG 1280x960 | images/s of a core |\n|---|--:|")
    print(f"| decoded and resized to 384, as published | {1 / whole:.0f} |\n| decoded | {1 / decoded:.0f} |\n")


def videos(folder: Path) -> None:
    """Uniform frames of each clip by each of the libraries that can read videos."""
    print(f"| {FRAMES} uniform frames of h264, frames/s of a core | {' | '.join(CLIPS)} |")
    print("|---|" + "--:|" * len(CLIPS))
    paths = []
    for number, clip in enumerate(CLIPS.values()):
        paths.append(folder / f"{number}.mp4")
        write_clip(paths[-1], clip)
    for reader in READERS:
        print(f"| {reader} | " + " | ".join([frames_a_second(path, reader) for path in paths]) + " |")
    print()


def frames_a_second(path: Path, reader: str) -> str:
    """The speed of one reader on one clip, or the reason why it cannot read it."""

    def read() -> None:
        clip = open_clip(path, reader, "clip")
        assert len(clip.get(uniform(len(clip.times), FRAMES))) == FRAMES

    try:
        read()  # what the first call sets up
        return f"{FRAMES / best(read):.0f}"
    except il.InputError as error:
        return str(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_200_000)
    parser.add_argument("--only", nargs="*", default=["records", "images", "videos", "packing"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    il.load_plugins()
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as name:
        parts: Mapping[str, Callable[[], None]] = {
            "records": lambda: records(Path(name), arguments.records),
            "images": lambda: images(Path(name)),
            "videos": lambda: videos(Path(name)),
            "packing": balance.main,
        }
        for part in arguments.only:
            parts[part]()


if __name__ == "__main__":
    main()
