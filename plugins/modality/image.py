"""Single pictures."""

from typing import Any, Literal

import numpy as np

from interleave import NEWLINE, ModalityAdapter, VisionSpec, Visual, load_image, modalities


@modalities.register("image")
class Image(ModalityAdapter):
    """One view with all its tokens. Takes a path, a PIL image or an array.

    newline: end the picture with the learned separator, as the published merge type ``spatial_unpad`` does. fit:
    ``square`` resizes the picture to a square, ``pad`` fills it up to one with the mean colour first.
    """

    def __init__(self, vision: VisionSpec, newline: bool = False, fit: Literal["square", "pad"] = "square") -> None:
        super().__init__(vision, fit)
        self.newline = newline

    def prepare(self, data: Any) -> Visual:
        layout: list[str | int] = [self.vision.tokens, NEWLINE] if self.newline else [self.vision.tokens]
        return Visual("image", self.views([load_image(data)]), layout)

    def example(self) -> Any:
        return np.random.default_rng(0).integers(0, 255, (23, 41, 3), dtype=np.uint8)
