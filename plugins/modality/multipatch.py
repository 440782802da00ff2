"""High-resolution pictures as an overview and tiles."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from interleave import NEWLINE, ModalityAdapter, VisionSpec, Visual, load_image, modalities


@modalities.register("multipatch")
class MultiPatch(ModalityAdapter):
    """An overview, then a grid of tiles read row by row over the whole picture, a newline at the end of each row.

    Takes what ``image`` takes. max_tiles: at most so many, besides the overview.
    """

    def __init__(self, vision: VisionSpec, max_tiles: int = 4, fit: Literal["square", "pad"] = "square") -> None:
        super().__init__(vision, fit)
        self.max_tiles = max_tiles

    def prepare(self, data: Any) -> Visual:
        image, side, grid = load_image(data), self.vision.size, self.vision.grid
        rows, cols = self.tiling(image.width, image.height)
        page = image.resize((cols * side, rows * side), PIL.Image.Resampling.BICUBIC)
        tiles = [
            page.crop((c * side, r * side, (c + 1) * side, (r + 1) * side)) for r in range(rows) for c in range(cols)
        ]
        row: list[str | int] = [cols * grid, NEWLINE]
        layout = [grid * grid, *row * (rows * grid)]
        return Visual("multipatch", self.views([image, *tiles]), layout, {"rows": rows, "cols": cols})

    def merge(self, features: Tensor, meta: Mapping[str, Any]) -> Tensor:
        grid, overview, tiles = self.vision.grid, features[0], features[1:]
        page = tiles.unflatten(1, (grid, grid)).unflatten(0, (meta["rows"], meta["cols"]))
        return torch.cat([overview, page.transpose(1, 2).flatten(0, 3)])

    def tiling(self, width: int, height: int) -> tuple[int, int]:
        """(rows, columns): the largest part of the picture's pixels kept, then the least waste."""
        side = self.vision.size
        sides = range(1, self.max_tiles + 1)

        def fit(shape: tuple[int, int]) -> tuple[float, float]:
            rows, cols = shape
            scale = min(cols * side / width, rows * side / height)
            kept = min(width * height, int(width * scale) * int(height * scale))
            return kept, kept - rows * cols * side * side

        return max(((r, c) for r in sides for c in sides if r * c <= self.max_tiles), key=fit)

    def example(self) -> Any:
        return np.random.default_rng(0).integers(0, 255, (50, 90, 3), dtype=np.uint8)
