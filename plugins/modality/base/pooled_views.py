"""What adapters of many views share: pooling each view's tokens, and the newlines between them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from interleave import NEWLINE, InputError, ModalityAdapter, VisionSpec

Pool = Literal["average", "max", "bilinear", "stride"]
Newline = Literal["none", "one_token", "frame", "grid"]


def _bilinear(square: Tensor, stride: int) -> Tensor:
    height, width = square.shape[-2:]
    return F.interpolate(square, [math.ceil(height / stride), math.ceil(width / stride)], mode="bilinear")


POOLS: Mapping[Pool, Callable[[Tensor, int], Tensor]] = {
    "average": F.avg_pool2d,
    "max": F.max_pool2d,
    "bilinear": _bilinear,
    "stride": lambda square, stride: square[..., ::stride, ::stride],
}
"""(V, D, H, W) -> (V, D, H', W'). Average and max leave out an incomplete square at the end, the others do not."""


class Pooled(ModalityAdapter):
    """Views one after another, all pooled the same way."""

    def __init__(
        self, vision: VisionSpec, pool: Pool, stride: int, newline: Newline, fit: Literal["square", "pad"]
    ) -> None:
        """Raises InputError where nothing would be left of a view, or where its tokens are no square to pool."""
        super().__init__(vision, fit)
        if not 1 <= stride <= vision.grid:
            raise InputError(f"stride is {stride}; it must be from 1 to the {vision.grid} tokens a side of a view")
        if stride > 1:
            need_square(vision, f"stride={stride}")
        if newline == "grid":
            need_square(vision, "newline=grid")
        self.pool, self.stride, self.newline = pool, stride, newline
        self.side = POOLS[pool](torch.zeros(1, 1, vision.grid, vision.grid), stride).shape[-1]

    def layout(self, titles: Sequence[str]) -> list[str | int]:
        """Of as many views as there are titles: text that stands before each, empty for none."""
        view: list[str | int] = [self.side**2 if self.stride > 1 else self.vision.tokens]
        if self.newline == "grid":
            view = [self.side, NEWLINE] * self.side
        elif self.newline == "frame":
            view.append(NEWLINE)
        pieces = [piece for title in titles for piece in ([title, *view] if title else view)]
        return [*pieces, NEWLINE] if self.newline == "one_token" else pieces

    def merge(self, features: Tensor, meta: Mapping[str, Any]) -> Tensor:
        if self.stride == 1:
            return features.flatten(0, 1)
        square = features.unflatten(1, (self.vision.grid, self.vision.grid)).permute(0, 3, 1, 2)
        return POOLS[self.pool](square, self.stride).permute(0, 2, 3, 1).flatten(0, 2)


def need_square(vision: VisionSpec, option: str) -> None:
    """Raises InputError where other tokens stand before those of the patches."""
    if vision.prefix:
        raise InputError(
            f"{option} needs views of {vision.grid} x {vision.grid} tokens, and the vision encoder puts "
            f"{vision.prefix} more before them; let it leave them out, or choose another {option.split('=')[0]}"
        )
