"""Pictures -> views, the squares of pixels that a vision encoder takes: the only place that resizes."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..core.errors import BadSample
from ..core.types import VisionSpec
from .images import MAX_PIXELS
from .pixels import Picture


def to_view(picture: Picture, vision: VisionSpec, fit: str) -> Tensor:
    """An RGB picture -> (3, S, S) uint8 with S = ``vision.size``, resized bicubically.

    fit: ``square`` resizes it directly; ``pad`` keeps the aspect ratio and fills up with the mean colour first.
    """
    width, height = picture_size(picture)
    if fit == "pad" and width != height:
        picture = _padded_to_square(picture, vision)
    return resized(picture, (vision.size, vision.size))


def resized(picture: Picture, size: tuple[int, int]) -> Tensor:
    """An RGB picture -> (3, H, W) uint8, bicubically and with antialiasing.

    picture: what Pillow has opened is resized with Pillow, to the values of the published models; a tensor with torch.
    size: width and height.
    """
    if isinstance(picture, Tensor):
        if picture_size(picture) == size:
            return picture.contiguous()
        # one picture of a batch; its values are rounded and kept within 0..255
        return F.interpolate(picture[None], size[::-1], mode="bicubic", antialias=True)[0].contiguous()
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)


def picture_size(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels."""
    return (picture.shape[2], picture.shape[1]) if isinstance(picture, Tensor) else picture.size


def _padded_to_square(picture: Picture, vision: VisionSpec) -> Picture:
    """The picture in the middle of a square of the mean colour, as LLaVA's ``expand2square``."""
    width, height = picture_size(picture)
    side = max(width, height)
    if side * side > MAX_PIXELS:
        raise BadSample(
            "too large",
            f"a picture of {width} x {height}, filled up to a square, has more than {MAX_PIXELS:,} pixels; cut it",
        )
    left, top = (side - width) // 2, (side - height) // 2
    red, green, blue = (int(255 * mean) for mean in vision.mean)
    if isinstance(picture, Tensor):
        colour = torch.tensor([red, green, blue], dtype=torch.uint8)
        square = colour.repeat(side, side, 1).permute(2, 0, 1)  # (3, side, side), in memory as (side, side, 3)
        square[:, top : top + height, left : left + width] = picture
        return square
    canvas = Image.new("RGB", (side, side), (red, green, blue))
    canvas.paste(picture, (left, top))
    return canvas
