"""3D scenes as several views of them."""

import copy
from typing import Any, Literal

import numpy as np

from interleave import VisionSpec, Visual, list_frames, load_image, modalities, uniform

from .pooling import Newline, Pool, Pooled


@modalities.register("scene3d")
class Scene3D(Pooled):
    """Uniformly chosen views of one scene, one after another. Takes a folder or a list of pictures.

    max_views: at most so many. pool, stride, newline, fit: as for videos, with views for frames.
    """

    def __init__(
        self,
        vision: VisionSpec,
        max_views: int = 10,
        pool: Pool = "average",
        stride: int = 1,
        newline: Newline = "none",
        fit: Literal["square", "pad"] = "square",
    ) -> None:
        super().__init__(vision, pool, stride, newline, fit)
        self.max_views = max_views

    def prepare(self, data: Any) -> Visual:
        pictures = list_frames(data)
        views = [load_image(pictures[i]) for i in uniform(len(pictures), self.max_views)]
        return Visual("scene3d", self.views(views), self.layout([""] * len(views)))

    def fewer(self, views: int) -> "Scene3D":
        changed = copy.copy(self)
        changed.max_views = min(self.max_views, views)
        return changed

    def example(self) -> Any:
        return list(np.random.default_rng(0).integers(0, 255, (3, 23, 41, 3), dtype=np.uint8))
