"""Videos as frames."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from torch import Tensor

from interleave import ModalityAdapter, VisionSpec, Visual, load_frames, modalities

from .pooling import pool_views, pooled


@modalities.register("video")
class Video(ModalityAdapter):
    """Uniform frames as views, each pooled by averaging.

    Takes a file, a folder of frames or a list of pictures. frames: at most so many. pool: side of the averaged square,
    1 keeps all tokens. reader: what decodes files. times: write each frame's time in seconds before it.
    """

    def __init__(
        self,
        vision: VisionSpec,
        frames: int = 10,
        pool: int = 1,
        reader: Literal["pyav", "decord"] = "pyav",
        times: bool = False,
        fit: Literal["square", "pad"] = "square",
    ) -> None:
        super().__init__(vision, fit)
        self.frames, self.reader, self.times = frames, reader, times
        self.pool, self.tokens = pool, pooled(vision, pool)

    def prepare(self, data: Any) -> Visual:
        images, seconds = load_frames(data, self.frames, self.reader)
        layout: list[str | int] = []
        for second in seconds:
            layout += [f"{second:.1f}s ", self.tokens] if self.times else [self.tokens]
        return Visual("video", self.views(images), layout)

    def merge(self, features: Tensor, meta: Mapping[str, Any]) -> Tensor:
        return pool_views(features, self.vision.grid, self.pool).flatten(0, 1)

    def example(self) -> Any:
        return list(np.random.default_rng(0).integers(0, 255, (13, 23, 41, 3), dtype=np.uint8))
