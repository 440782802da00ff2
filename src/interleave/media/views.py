"""Pictures -> views, the squares of pixels that a vision encoder takes: the only place that resizes."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..core.types import VisionSpec


def to_view(image: Image.Image, vision: VisionSpec, fit: str) -> Tensor:
    """A picture -> (3, S, S) uint8: bicubic, as the published models were trained; ``pad`` keeps the aspect ratio."""
    if fit == "pad" and image.width != image.height:
        side = max(image.size)
        red, green, blue = (int(255 * m) for m in vision.mean)
        canvas = Image.new("RGB", (side, side), (red, green, blue))
        canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = canvas
    if image.size != (vision.size, vision.size):
        image = image.resize((vision.size, vision.size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
