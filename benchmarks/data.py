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
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import balance
import loading
import numpy as np
import torch
from PIL import Image

import interleave as il
from interleave.media.images import uniform
from interleave.media.video_readers import READERS, open_clip

CLIPS = {
    "720p, 10 s, a key frame every 250": (1280, 720, 240, 250),
    "360p, 60 s, a key frame every 30": (640, 360, 1440, 30),
}
FRAMES, REPEATS = 16, 3


def best(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Processor seconds, of all threads, of the fastest of several times: other work on the machine hardly counts."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def texture(width: int, height: int, step: int = 0) -> np.ndarray:
    """Smooth shapes that move, and fine grain, so that it is neither trivial nor impossible to compress."""
    rng, (y, x) = np.random.default_rng(step), np.mgrid[:height, :width]
    smooth = [120 + 80 * np.sin((x * a + y * b) / 90 + step / 8) for a, b in ((1, 0.3), (0.2, 1), (0.7, -0.6))]
    return np.clip(np.stack(smooth, -1) + rng.normal(0, 2, (height, width, 1)), 0, 255).astype(np.uint8)


def write_clip(path: Path, width: int, height: int, frames: int, group: int) -> None:
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "g": str(group), "keyint_min": str(group), "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=24, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        kinds = [texture(width, height, step) for step in range(24)]  # forth and back
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(kinds[min(i % 46, 46 - i % 46)], format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def records(folder: Path, count: int) -> None:
    written = loading.write(folder, count)
    size = sum(path.stat().st_size for path in folder.glob("*.json")) / 1e6
    environment = {**os.environ, "INTERLEAVE_CACHE": str(folder / "cache")}

    def measure(what: str) -> dict[str, float]:
        command = [sys.executable, loading.__file__, what, str(folder)]
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        return {name: float(value) for name, value in (pair.split("=") for pair in said.split()[-9:])}

    index, start, read, resume = (measure(what) for what in ("index", "start", "read", "resume"))
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
    print(f"| the same, from 8 ranks on 1 | {resume['other']:.1f} s |\n")


def images(folder: Path) -> None:
    path = folder / "photo.jpg"
    Image.fromarray(texture(1280, 960)).save(path, quality=90)
    adapter = il.modalities.build({"name": "image"}, vision=il.VisionSpec(384, 27), llm_dim=8)
    whole = best(lambda: [adapter.prepare(path) for _ in range(20)]) / 20
    decoded = best(lambda: [il.load_image(path) for _ in range(20)]) / 20
    print("| JPEG 1280x960 | images/s of a core |\n|---|--:|")
    print(f"| decoded and resized to 384, as published | {1 / whole:.0f} |\n| decoded | {1 / decoded:.0f} |\n")


def videos(folder: Path) -> None:
    print(
        f"| {FRAMES} uniform frames of h264, frames/s of a core | "
        + " | ".join(CLIPS)
        + " |\n|---|"
        + "--:|" * len(CLIPS)
    )
    paths = {name: folder / f"{i}.mp4" for i, name in enumerate(CLIPS)}
    for name, path in paths.items():
        write_clip(path, *CLIPS[name])
    for reader in READERS:
        cells = []
        for path in paths.values():

            def read(path: Path = path, reader: str = reader) -> None:
                clip = open_clip(path, reader, "clip")
                assert len(clip.get(uniform(len(clip.times), FRAMES))) == FRAMES

            try:
                read()
                cells.append(f"{FRAMES / best(read):.0f}")
            except il.InputError as error:
                cells.append(str(error))
        print(f"| {reader} | " + " | ".join(cells) + " |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_200_000)
    parser.add_argument("--only", nargs="*", default=["records", "images", "videos", "packing"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    il.load_plugins()
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as name:
        parts = {"records": lambda: records(Path(name), asked.records), "images": lambda: images(Path(name)),
                 "videos": lambda: videos(Path(name)), "packing": balance.main}  # fmt: skip
        for part in asked.only:
            parts[part]()


if __name__ == "__main__":
    main()
