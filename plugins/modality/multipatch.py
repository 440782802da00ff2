"""High-resolution pictures as an overview and tiles."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from interleave import (
    NEWLINE,
    InputError,
    ModalityAdapter,
    Resize,
    VisionSpec,
    Visual,
    modalities,
    picture_size,
    resized,
)

from .base.anyres import Size, best_resolution, cut_into_tiles, margins, on_page, read_pinpoints, shrunk
from .base.pooled_views import need_square

Merge = Literal["flat", "spatial", "spatial_unpad"]


@modalities.register("multipatch")
class MultiPatch(ModalityAdapter):
    """An overview, then the picture on a page of tiles: the published ``anyres``. Takes what ``image`` takes.

    pinpoints: the pages to choose from, as [width, height] in pixels or as a range in tiles; none shows the picture as
        one view.
    max_tiles: the published ``anyres_max_K``: at most so many tiles' worth of tokens, besides the overview; a larger
        page is shrunk bilinearly. None sets no limit.
    merge: ``flat`` is tile after tile, ``spatial`` row after row of the page, ``spatial_unpad`` leaves the page's
        margins out and ends each row with the learned separator (and a picture without tiles, too).
    fit: of a picture without tiles, as for images; an overview is resized directly.
    resize: as for images. A picture that is decoded ``scaled`` has its sides rounded, so that now and then a page shows
        one row more or less of it.
    """

    def __init__(
        self,
        vision: VisionSpec,
        pinpoints: list[tuple[int, int]] | str | None = "(1x1),...,(2x2)",
        max_tiles: int | None = None,
        merge: Merge = "spatial_unpad",
        fit: Literal["square", "pad"] = "square",
        resize: Resize = "torch",
    ) -> None:
        """Raises InputError for options that do not fit."""
        super().__init__(vision, fit, resize)
        self.pages = read_pinpoints(pinpoints, vision.size)
        if max_tiles is not None and (max_tiles < 1 or merge != "spatial_unpad"):
            raise InputError(
                f"max_tiles is {max_tiles} with merge={merge}; it must be at least 1, and needs merge=spatial_unpad"
            )
        if self.pages and merge != "flat":
            need_square(vision, f"merge={merge}")
        self.max_tiles, self.merge_type = max_tiles, merge
        # pages are multiples of a view's side, so an overview needs no more than a page does
        widths, heights = zip((vision.size, vision.size), *self.pages, strict=True)
        self.least = (max(widths), max(heights))

    def prepare(self, data: object) -> Visual:
        """A picture -> views (1 + tiles, 3, S, S), the overview first, then the tiles row by row. Raises BadSample."""
        picture = self.picture(data, self.least)
        if not self.pages:
            layout: list[str | int] = [self.vision.tokens]
            if self.merge_type == "spatial_unpad":
                layout.append(NEWLINE)
            return Visual("multipatch", self.views([picture]), layout)
        side, size = self.vision.size, picture_size(picture)
        width, height = best_resolution(size, self.pages)
        overview = resized(picture, (side, side))  # (3, S, S)
        tiles = cut_into_tiles(on_page(picture, (width, height)), side)  # (tiles, 3, S, S)
        views = torch.cat([overview[None], tiles])  # (1 + tiles, 3, S, S)
        meta = self.geometry(height // side, width // side, size)
        return Visual("multipatch", views, self.layout(len(views), meta), meta)

    def geometry(self, rows: int, cols: int, picture: Size) -> dict[str, int]:
        """What ``merge`` must know of a page of ``rows`` x ``cols`` tiles that shows a picture of this size in pixels.

        rows, cols: of tiles. left, top: margins in tokens. width, height: of the page in tokens, at the end.
        """
        width, height = cols * self.vision.grid, rows * self.vision.grid
        left, top = margins(picture, (width, height)) if self.merge_type == "spatial_unpad" else (0, 0)
        width, height = width - 2 * left, height - 2 * top
        if self.max_tiles is not None:
            width, height = shrunk((width, height), self.max_tiles * self.vision.grid**2)
        return {"rows": rows, "cols": cols, "left": left, "top": top, "width": width, "height": height}

    def layout(self, views: int, meta: Mapping[str, int]) -> list[str | int]:
        """What stands for ``views`` views of this geometry, the overview first."""
        if self.merge_type == "flat":
            return [self.vision.tokens] * views
        if self.merge_type == "spatial":
            return [self.vision.tokens, meta["width"] * meta["height"]]
        row: list[str | int] = [meta["width"], NEWLINE]
        return [self.vision.tokens, *row * meta["height"]]

    def merge(self, features: Tensor, meta: Mapping[str, int]) -> Tensor:
        """(1 + tiles, tokens, D) -> (n, D): the overview, then the page as ``merge`` says."""
        overview, tiles = features[0], features[1:]
        if self.merge_type == "flat" or not len(tiles):
            return features.flatten(0, 1)
        rows, cols, grid = meta["rows"], meta["cols"], self.vision.grid
        squares = tiles.unflatten(1, (grid, grid)).unflatten(0, (rows, cols))  # (rows, cols, grid, grid, D)
        page = squares.transpose(1, 2).flatten(2, 3).flatten(0, 1)  # (rows * grid, cols * grid, D)
        left, top = meta["left"], meta["top"]
        page = page[top : len(page) - top, left : cols * grid - left]
        size = meta["height"], meta["width"]
        if page.shape[:2] != size:  # a page of more tokens than max_tiles allows
            channels_first = page.permute(2, 0, 1)[None]  # (1, D, H, W)
            page = F.interpolate(channels_first, size, mode="bilinear")[0].permute(1, 2, 0)  # (height, width, D)
        return torch.cat([overview, page.flatten(0, 1)])

    def example(self) -> NDArray[np.uint8]:
        """(50, 90, 3) noise."""
        return np.random.default_rng(0).integers(0, 255, (50, 90, 3), dtype=np.uint8)
