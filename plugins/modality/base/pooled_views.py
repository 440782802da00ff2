"""What adapters of many views share: pooling each view's tokens, and the newlines between them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from interleave import NEWLINE, InputError, ModalityAdapter, Resize, VisionSpec

Pool = Literal["average", "max", "bilinear", "stride"]
Newline = Literal["none", "one_token", "frame", "grid"]


def _bilinear(square: Tensor, stride: int) -> Tensor:
    """(V, D, H, W) -> (V, D, ceil(H / stride), ceil(W / stride))"""
    height, width = square.shape[-2:]
    return F.interpolate(square, [math.ceil(height / stride), math.ceil(width / stride)], mode="bilinear")


POOLS: Mapping[Pool, Callable[[Tensor, int], Tensor]] = {
    "average": F.avg_pool2d,
    "max": F.max_pool2d,
    "bilinear": _bilinear,
    "stride": lambda square, stride: square[..., ::stride, ::stride],
}
"""(V, D, H, W) -> (V, D, H', W'). Average and max leave out an incomplete square at the end, the others do not."""


class PooledViews(ModalityAdapter):
    """Views one after another, all pooled the same way."""

    def __init__(
        self, vision: VisionSpec, tokens: tuple[Pool, int, Newline], fit: Literal["square", "pad"], resize: Resize
    ) -> None:
        """tokens: the options ``pool``, ``stride`` and ``newline`` of ``video``.
        fit, resize: as for images.

        Raises InputError where nothing would be left of a view, or where its tokens are no square to pool.
        """
        super().__init__(vision, fit, resize)
        pool, stride, newline = tokens
        if not 1 <= stride <= vision.grid:
            raise InputError(f"stride is {stride}; it must be from 1 to the {vision.grid} tokens a side of a view")
        if stride > 1:
            need_square(vision, f"stride={stride}")
        if newline == "grid":
            need_square(vision, "newline=grid")
        self.pool, self.stride, self.newline = pool, stride, newline
        # tokens that pooling leaves a side, found by pooling
        self.side = POOLS[pool](torch.zeros(1, 1, vision.grid, vision.grid), stride).shape[-1]

    def layout(self, titles: Sequence[str]) -> list[str | int]:
        """What stands for as many views as there are titles. titles: text that stands before each, empty for none."""
        view: list[str | int] = [self.side**2 if self.stride > 1 else self.vision.tokens]
        if self.newline == "grid":
            view = [self.side, NEWLINE] * self.side
        elif self.newline == "frame":
            view.append(NEWLINE)
        layout: list[str | int] = []
        for title in titles:
            if title:
                layout.append(title)
            layout += view
        if self.newline == "one_token":
            layout.append(NEWLINE)
        return layout

    def merge(self, features: Tensor, meta: Mapping[str, object]) -> Tensor:
        """(V, tokens, D) -> (n, D), pooled view by view; n = V * side * side, or V * tokens without pooling."""
        if self.stride == 1:
            return features.flatten(0, 1)
        grid = self.vision.grid
        square = features.unflatten(1, (grid, grid)).permute(0, 3, 1, 2)  # (V, D, grid, grid)
        pooled = POOLS[self.pool](square, self.stride)  # (V, D, side, side)
        return pooled.permute(0, 2, 3, 1).flatten(0, 2)


def need_square(vision: VisionSpec, option: str) -> None:
    """Raises InputError where other tokens stand before those of the patches, so that a view's tokens are no square.

    option: what needs the square, as the user writes it, for the error.
    """
    if vision.prefix:
        raise InputError(
            f"{option} needs views of {vision.grid} x {vision.grid} tokens, and the vision encoder puts "
            f"{vision.prefix} more before them; let it leave them out, or choose another {option.split('=')[0]}"
        )
