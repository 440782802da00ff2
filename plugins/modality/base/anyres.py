"""The geometry of a picture cut into tiles: how many tiles, and which of their tokens show the picture.

Published with LLaVA-NeXT, down to the rounding. Sizes are (width, height).
"""

import ast
import math
import re
from collections.abc import Sequence

from PIL import Image

from interleave import InputError

Size = tuple[int, int]


def read_pinpoints(pinpoints: Sequence[Size] | str | None, side: int) -> list[Size]:
    """The page sizes to choose from, in pixels. Raises InputError where one is no whole number of tiles.

    A string is ``(1x1),...,(6x6)``, every page from the first to the last in tiles, or a list of pairs of pixels.
    """
    sizes = _read(pinpoints, side) if isinstance(pinpoints, str) else list(pinpoints or ())
    for width, height in sizes:
        if width < side or height < side or width % side or height % side:
            raise InputError(
                f"pinpoints has {width} x {height} pixels, which is no whole number of tiles of {side} x {side}; "
                "give multiples of the side, or a range in tiles such as '(1x1),...,(2x2)'"
            )
    return sizes


def _read(text: str, side: int) -> list[Size]:
    pairs = [(int(w), int(h)) for w, h in re.findall(r"\((\d+)x(\d+)\)", text)]
    if pairs:
        (first_w, first_h), (last_w, last_h) = pairs[0], pairs[-1]
        sizes = [(w * side, h * side) for w in range(first_w, last_w + 1) for h in range(first_h, last_h + 1)]
        if sizes:
            return sizes
    try:
        return [(int(width), int(height)) for width, height in ast.literal_eval(text.strip() or "[]")]
    except (ValueError, SyntaxError, TypeError):
        raise InputError(
            f"pinpoints is {text!r}; it must be a range in tiles such as '(1x1),...,(2x2)' or a list of [width, height]"
        ) from None


def best_resolution(picture: Size, resolutions: Sequence[Size]) -> Size:
    """The page on which most of the picture's pixels are kept, then the one with the least waste, then the first."""
    width, height = picture

    def fit(page: Size) -> tuple[int, int]:
        scale = min(page[0] / width, page[1] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - page[0] * page[1]

    return max(resolutions, key=fit)


def on_page(image: Image.Image, page: Size) -> Image.Image:
    """The picture as large as it fits, in the middle of a black page."""
    scale_w, scale_h = page[0] / image.width, page[1] / image.height
    if scale_w < scale_h:
        size = page[0], min(math.ceil(image.height * scale_w), page[1])
    else:
        size = min(math.ceil(image.width * scale_h), page[0]), page[1]
    canvas = Image.new("RGB", page)
    canvas.paste(image.resize(size, Image.Resampling.BICUBIC), ((page[0] - size[0]) // 2, (page[1] - size[1]) // 2))
    return canvas


def margins(picture: Size, tokens: Size) -> Size:
    """(left, top): tokens on each side of a page of ``tokens`` that show nothing of the picture."""
    (width, height), (cols, rows) = picture, tokens
    if width / height > cols / rows:
        return 0, (rows - int(height * (cols / width))) // 2
    return (cols - int(width * (rows / height))) // 2, 0


def shrunk(tokens: Size, limit: int) -> Size:
    """``tokens`` where they hardly exceed ``limit`` of them, else about as many as that, of the same shape."""
    cols, rows = tokens
    times = math.sqrt(rows * cols / limit)
    if times <= 1.1:
        return tokens
    return max(1, int(cols // times)), max(1, int(rows // times))  # published code fails where a side would be 0
