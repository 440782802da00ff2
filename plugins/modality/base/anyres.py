"""The geometry of a picture cut into tiles: how many tiles, and which of their tokens show the picture.

Published with LLaVA-NeXT, down to the rounding.
"""

import ast
import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from interleave import InputError, Picture, picture_size, resized

Size = tuple[int, int]
"""Width and height, in pixels or tokens."""


def read_pinpoints(pinpoints: Sequence[Size] | str | None, side: int) -> list[Size]:
    """The page sizes to choose from, in pixels.

    pinpoints: sizes in pixels, or a string: ``(1x1),...,(6x6)``, every page from the first to the last in tiles, or a
        list of pairs of pixels. None and an empty list give no page.
    side: of a tile in pixels.

    Raises InputError where a page is no whole number of tiles.
    """
    sizes = _parse_pinpoints(pinpoints, side) if isinstance(pinpoints, str) else list(pinpoints or ())
    for width, height in sizes:
        if width < side or height < side or width % side or height % side:
            raise InputError(
                f"pinpoints has {width} x {height} pixels, which is no whole number of tiles of {side} x {side}; "
                "give multiples of the side, or a range in tiles such as '(1x1),...,(2x2)'"
            )
    return sizes


def _parse_pinpoints(text: str, side: int) -> list[Size]:
    pairs = [(int(width), int(height)) for width, height in re.findall(r"\((\d+)x(\d+)\)", text)]
    if pairs:
        sizes = _pages_between(pairs[0], pairs[-1], side)
        if sizes:
            return sizes
    try:
        return [(int(width), int(height)) for width, height in ast.literal_eval(text.strip() or "[]")]
    except (ValueError, SyntaxError, TypeError):
        raise InputError(
            f"pinpoints is {text!r}; it must be a range in tiles such as '(1x1),...,(2x2)' or a list of [width, height]"
        ) from None


def _pages_between(first: Size, last: Size, side: int) -> list[Size]:
    """All pages from the first to the last, which are in tiles; in pixels, the narrow ones first."""
    pages: list[Size] = []
    for width in range(first[0], last[0] + 1):
        for height in range(first[1], last[1] + 1):
            pages.append((width * side, height * side))
    return pages


def best_resolution(picture: Size, resolutions: Sequence[Size]) -> Size:
    """The page on which most of the picture's pixels are kept, then the one with the least waste, then the first."""
    width, height = picture

    def kept_and_waste(page: Size) -> tuple[int, int]:
        scale = min(page[0] / width, page[1] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)  # enlarging gains no pixels
        waste = page[0] * page[1] - kept
        return kept, -waste

    return max(resolutions, key=kept_and_waste)


def on_page(picture: Picture, page: Size) -> Tensor:
    """The picture as large as it fits, in the middle of a black page: (3, H, W) uint8."""
    size = picture_size(picture)
    scale_w, scale_h = page[0] / size[0], page[1] / size[1]
    if scale_w < scale_h:  # it fills the width
        width, height = page[0], min(math.ceil(size[1] * scale_w), page[1])
    else:
        width, height = min(math.ceil(size[0] * scale_h), page[0]), page[1]
    left, top = (page[0] - width) // 2, (page[1] - height) // 2
    pixels = torch.zeros(3, page[1], page[0], dtype=torch.uint8)
    pixels[:, top : top + height, left : left + width] = resized(picture, (width, height))
    return pixels


def cut_into_tiles(page: Tensor, side: int) -> Tensor:
    """(3, rows * side, cols * side) -> (rows * cols, 3, side, side), row by row."""
    squares = page.unflatten(2, (-1, side)).unflatten(1, (-1, side))  # (3, rows, side, cols, side)
    tiles: Tensor = squares.permute(1, 3, 0, 2, 4).flatten(0, 1)  # flatten has no types
    return tiles


def margins(picture: Size, tokens: Size) -> Size:
    """(left, top): tokens on each side of a page of ``tokens`` that show nothing of the picture."""
    width, height = picture
    cols, rows = tokens
    if width / height > cols / rows:  # the picture fills the width
        return 0, (rows - int(height * (cols / width))) // 2
    return (cols - int(width * (rows / height))) // 2, 0


def shrunk(tokens: Size, limit: int) -> Size:
    """``tokens`` where they hardly exceed ``limit`` of them, else about as many as that, of the same shape."""
    cols, rows = tokens
    times = math.sqrt(rows * cols / limit)  # how much too long a side is
    if times <= 1.1:
        return tokens
    return max(1, int(cols // times)), max(1, int(rows // times))  # published code fails where a side would be 0
