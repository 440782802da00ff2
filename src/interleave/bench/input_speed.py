"""Pictures from JPEG to a view: the modality as it is, and other ways of decoding and resizing."""

import io

import torch
from PIL import Image
from torchvision.io import decode_jpeg
from torchvision.transforms.v2.functional import InterpolationMode, resize

from ..core.types import VisionSpec
from ..interfaces.registry import load_plugins, modalities
from .bench_models import noise
from .bench_table import BenchCell, BenchTable
from .effort import Effort
from .stopwatch import Side, alternate

VIEW_SIDE = 384


def compare_input(effort: Effort) -> list[BenchTable]:
    """Seconds from a JPEG's bytes to a view of 384 pixels, one picture at a time."""
    load_plugins()
    sizes = ((1280, 960), (4000, 3000)) if effort.shape != "tiny" else ((64, 48),)
    tables = []
    for width, height in sizes:
        data = jpeg(width, height)
        seconds = alternate(_ways(data), effort.rounds)
        rows: list[list[BenchCell]] = [
            [name, 1 / spent, spent / seconds["modality image"]] for name, spent in seconds.items()
        ]
        title = f"JPEG {width}x{height} of {len(data) / 1e6:.1f} MB to a view of {VIEW_SIDE} pixels"
        tables.append(BenchTable("input", title, ("", "pictures/s", "time / ours"), rows))
    return tables


def jpeg(width: int, height: int) -> bytes:
    """A smooth picture with some grain, as a camera writes it."""
    coarse = noise(width // 40 + 2, height // 40 + 2, seed=0).resize((width, height), Image.Resampling.BICUBIC)
    grain = noise(width, height, seed=1)
    file = io.BytesIO()
    Image.blend(coarse, grain, 0.05).save(file, "JPEG", quality=90)
    return file.getvalue()


def _ways(data: bytes) -> dict[str, Side]:
    adapter = modalities.build({"name": "image"}, vision=VisionSpec(VIEW_SIDE, 27), llm_dim=8)
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)

    def pillow() -> object:
        return Image.open(io.BytesIO(data)).convert("RGB").resize((VIEW_SIDE, VIEW_SIDE), Image.Resampling.BICUBIC)

    def pillow_draft() -> object:
        picture = Image.open(io.BytesIO(data))
        picture.draft("RGB", (VIEW_SIDE, VIEW_SIDE))  # decodes at an eighth, a quarter or half of the size
        return picture.resize((VIEW_SIDE, VIEW_SIDE), Image.Resampling.BICUBIC)

    def torchvision() -> object:
        return resize(decode_jpeg(encoded), [VIEW_SIDE, VIEW_SIDE], InterpolationMode.BICUBIC, antialias=True)

    return {
        "modality image": lambda: adapter.prepare(data),
        "Pillow, whole": pillow,
        "Pillow, scaled while decoding": pillow_draft,
        "torchvision, antialiased": torchvision,
    }
