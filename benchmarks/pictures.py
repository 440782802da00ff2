"""Pictures to views in each way of ``modality.image.resize``: milliseconds, and how far values are from Pillow's.

python benchmarks/pictures.py
"""

import io
import time

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from interleave.core.types import VisionSpec
from interleave.media.pixels import OPENERS
from interleave.media.views import to_view

SIZES = ((4000, 3000), (1280, 960), (640, 480))
VISION = VisionSpec(384, 27)
REPEATS = 7


def photograph(width: int, height: int) -> bytes:
    """A JPEG with smooth light, edges and grain."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (height // 50, width // 50, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = rng.normal(0, 6, smooth.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def main() -> None:
    torch.set_num_threads(1)
    table = Table("picture", "resize", "ms", "values that differ", "most", "mean")
    for size in SIZES:
        content = photograph(*size)
        exact = to_view(OPENERS["pillow"](content, (384, 384)), VISION, "square").int()
        times: dict[str, list[float]] = {name: [] for name in OPENERS}
        for _ in range(REPEATS):  # alternating, so that a busy moment of the machine meets all
            for name, opened in OPENERS.items():
                begun = time.perf_counter()
                view = to_view(opened(content, (384, 384)), VISION, "square")
                times[name].append(time.perf_counter() - begun)
                if len(times[name]) == REPEATS:
                    off = (view.int() - exact).abs()
                    differ = f"{(off > 0).float().mean():.2%}"
                    row = [f"{size[0]}x{size[1]}", name, f"{1000 * float(np.median(times[name])):.1f}", differ]
                    table.add_row(*row, str(int(off.max())), f"{off.float().mean():.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
