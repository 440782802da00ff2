"""3D scenes as several views of them."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from torch import Tensor

from interleave import ModalityAdapter, VisionSpec, Visual, list_frames, load_image, modalities, uniform

from .pooling import pool_views, pooled


@modalities.register("scene3d")
class Scene3D(ModalityAdapter):
    """Uniformly chosen views of one scene, one after another, each pooled by averaging.

    Takes a folder or a list of pictures. max_views: at most so many. pool: side of the averaged square.
    """

    def __init__(
        self, vision: VisionSpec, max_views: int = 10, pool: int = 1, fit: Literal["square", "pad"] = "square"
    ) -> None:
        super().__init__(vision, fit)
        self.max_views, self.pool, self.tokens = max_views, pool, pooled(vision, pool)

    def prepare(self, data: Any) -> Visual:
        pictures = list_frames(data)
        views = [load_image(pictures[i]) for i in uniform(len(pictures), self.max_views)]
        return Visual("scene3d", self.views(views), [self.tokens] * len(views))

    def merge(self, features: Tensor, meta: Mapping[str, Any]) -> Tensor:
        return pool_views(features, self.vision.grid, self.pool).flatten(0, 1)

    def example(self) -> Any:
        return list(np.random.default_rng(0).integers(0, 255, (3, 23, 41, 3), dtype=np.uint8))
