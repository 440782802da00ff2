"""Pictures as tensors: the only place that decodes with torchvision, which gives Pillow's pixels in less time."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile
from torch import Tensor

from .images import UPRIGHT, as_rgb, is_turned, load_image, opened_image, orientation

Picture = Image.Image | Tensor
"""A decoded RGB picture: one of Pillow, which Pillow resizes, or (3, H, W) uint8, which torch resizes."""
Resize = Literal["torch", "pillow", "scaled"]
"""Who resizes pictures.

``torch``: torch, antialiased, about twice as fast as Pillow; values differ by one grey level at most, 0.2% of them, or
    one in seven where a picture is so tall that Pillow goes by columns first.
``pillow``: Pillow, as the published models were trained.
``scaled``: as ``torch``, but a JPEG is decoded at a half, a quarter or an eighth of its size where that is enough.
"""
TURNS: Mapping[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (2,)), 3: (False, (1, 2)), 4: (False, (1,)), 5: (True, ()), 6: (True, (2,)), 7: (True, (1, 2)),
    8: (True, (1,)),
}  # fmt: skip
"""EXIF's orientation -> whether height and width of (3, H, W) change places, then which dimensions are reversed."""


def load_pixels(data: object, least: tuple[int, int] | None = None) -> Tensor:
    """What ``load_image`` takes -> (3, H, W) uint8, the same values as its picture has.

    least: width and height; a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as it does not fall below
        them. None decodes all of it.

    The tensor's memory lies as (H, W, 3), which torch resizes fastest. Raises BadSample as ``load_image`` does.
    """
    if isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 3 and data.shape[2] == 3:
        return _channels_first(data)
    if isinstance(data, (Image.Image, np.ndarray)):
        return _channels_first(np.asarray(load_image(data)))
    with opened_image(data) as image:
        if least:
            image.draft("RGB", least[::-1] if is_turned(image) else least)  # does nothing for what is no JPEG
        elif image.format == "JPEG" and image.mode == "RGB":  # what both libraries decode to the same values
            return _decoded_jpeg(image)
        return _channels_first(np.asarray(as_rgb(image)))


def _decoded_jpeg(image: ImageFile.ImageFile) -> Tensor:
    """The pixels of a JPEG file in colour, (3, H, W) uint8."""
    from torchvision.io import ImageReadMode, decode_jpeg  # half a second, and not all modalities show pictures

    assert image.fp is not None
    image.fp.seek(0)
    content = torch.frombuffer(bytearray(image.fp.read()), dtype=torch.uint8)  # (bytes,)
    try:
        return _turned(decode_jpeg(content, mode=ImageReadMode.RGB), orientation(image))
    except RuntimeError:  # Pillow may read it, and else says what is wrong
        return _channels_first(np.asarray(as_rgb(image)))


def _turned(pixels: Tensor, orientation: int) -> Tensor:
    """(3, H, W) as a file stores it -> upright, (3, H, W) or (3, W, H), in memory as ``load_pixels`` says."""
    if orientation == UPRIGHT:
        return pixels
    is_transposed, mirrored = TURNS[orientation]
    upright = (pixels.transpose(1, 2) if is_transposed else pixels).flip(mirrored)
    return upright.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def _channels_first(values: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) -> (3, H, W), in the same memory where torch may write into it."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"])).permute(2, 0, 1)


OPENERS: Mapping[Resize, Callable[[object, tuple[int, int]], Picture]] = {
    "torch": lambda data, least: load_pixels(data),
    "pillow": lambda data, least: load_image(data),
    "scaled": load_pixels,
}
"""(a picture, the least width and height that it is needed in) -> what will be resized in that way."""
