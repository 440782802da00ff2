"""Single pictures."""

from typing import Any

import numpy as np

from interleave import ModalityAdapter, Visual, load_image, modalities


@modalities.register("image")
class Image(ModalityAdapter):
    """One view, one token for each patch that the projector leaves. Takes a path, a PIL image or an array."""

    def prepare(self, data: Any) -> Visual:
        return Visual("image", self.views([load_image(data)]), [self.vision.grid**2])

    def example(self) -> Any:
        return np.random.default_rng(0).integers(0, 255, (23, 41, 3), dtype=np.uint8)
