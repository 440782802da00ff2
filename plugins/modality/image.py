"""Single pictures."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from interleave import NEWLINE, ModalityAdapter, Resize, VisionSpec, Visual, modalities


@modalities.register("image")
class Image(ModalityAdapter):
    """One view with all its tokens. Takes a path, a PIL image or an array.

    newline: end the picture with the learned separator, as the published merge type ``spatial_unpad`` does.
    fit: ``square`` resizes the picture to a square, ``pad`` fills it up to one with the mean colour first.
    resize: with ``torch``, the fastest that is exact, with ``pillow``, as published, or with ``scaled`` JPEGs.
    """

    def __init__(
        self,
        vision: VisionSpec,
        newline: bool = False,
        fit: Literal["square", "pad"] = "square",
        resize: Resize = "torch",
    ) -> None:
        super().__init__(vision, fit, resize)
        self.newline = newline

    def prepare(self, data: object) -> Visual:
        """A picture -> one view (1, 3, S, S). Raises BadSample."""
        layout: list[str | int] = [self.vision.tokens]
        if self.newline:
            layout.append(NEWLINE)
        return Visual("image", self.views([self.picture(data)]), layout)

    def example(self) -> NDArray[np.uint8]:
        """(23, 41, 3) noise."""
        return np.random.default_rng(0).integers(0, 255, (23, 41, 3), dtype=np.uint8)
