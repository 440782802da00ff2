"""Pictures -> views, the squares of pixels that a vision encoder takes: the only place that resizes."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..core.types import VisionSpec


def to_view(image: Image.Image, vision: VisionSpec, fit: str) -> Tensor:
    """An RGB picture -> (3, S, S) uint8 with S = ``vision.size``, resized bicubically as the published models do.

    fit: ``square`` resizes it directly; ``pad`` keeps the aspect ratio and fills up with the mean colour first.
    """
    if fit == "pad" and image.width != image.height:
        image = _padded_to_square(image, vision)
    if image.size != (vision.size, vision.size):
        image = image.resize((vision.size, vision.size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image))  # (S, S, 3)
    return pixels.permute(2, 0, 1).contiguous()  # (3, S, S)


def _padded_to_square(image: Image.Image, vision: VisionSpec) -> Image.Image:
    """The picture in the middle of a square of the mean colour, as LLaVA's ``expand2square``."""
    side = max(image.size)
    red, green, blue = (int(255 * mean) for mean in vision.mean)
    canvas = Image.new("RGB", (side, side), (red, green, blue))
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas
