"""Single pictures."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from interleave import NEWLINE, ModalityAdapter, VisionSpec, Visual, load_image, modalities


@modalities.register("image")
class Image(ModalityAdapter):
    """One view with all its tokens. Takes a path, a PIL image or an array.

    newline: end the picture with the learned separator, as the published merge type ``spatial_unpad`` does.
    fit: ``square`` resizes the picture to a square, ``pad`` fills it up to one with the mean colour first.
    """

    def __init__(self, vision: VisionSpec, newline: bool = False, fit: Literal["square", "pad"] = "square") -> None:
        super().__init__(vision, fit)
        self.newline = newline

    def prepare(self, data: object) -> Visual:
        """A picture -> one view (1, 3, S, S). Raises BadSample."""
        layout: list[str | int] = [self.vision.tokens]
        if self.newline:
            layout.append(NEWLINE)
        return Visual("image", self.views([load_image(data)]), layout)

    def example(self) -> NDArray[np.uint8]:
        """(23, 41, 3) noise."""
        return np.random.default_rng(0).integers(0, 255, (23, 41, 3), dtype=np.uint8)
