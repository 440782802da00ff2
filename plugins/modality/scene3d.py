"""3D scenes as several views of them."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from interleave import InputError, VisionSpec, Visual, load_image, modalities

from ..scenes.pose_encoding import PoseEncoding, Poses
from ..scenes.readers.open_scene import open_scene
from ..scenes.text_coordinates import Frame, to_frame, write_point
from ..scenes.view import View
from ..scenes.view_selection import Selection, select
from .base.pooled_views import Newline, Pool, Pooled


@modalities.register("scene3d")
class Scene3D(Pooled):
    """Views of one scene, one after another. Takes a folder or a list of pictures, or a scene with cameras: a folder in
    ScanNet's form, a COLMAP model, a ``transforms.json``, a nuScenes record, a mesh or a point cloud.

    max_views: at most so many. view_selection: which ones, ``uniform`` over all, the ``farthest`` apart, or those that
    cover most (``coverage``); the last two need cameras. far: how far a view without depth is taken to see by
    ``coverage``, null derives it from the cameras. poses: what patches learn of their place in the scene, with weights
    of their own: nothing, a ``pointmap`` from depth, or ``rays`` without depth. titles: write each camera's position
    before its view, in the axes of the ``world`` or of the ``first`` view. pool, stride, newline, fit: as for videos,
    with views for frames. llm_dim: of the features that poses are added to.
    """

    def __init__(  # noqa: PLR0913 (the options that a config sets)
        self,
        vision: VisionSpec,
        llm_dim: int = 0,
        max_views: int = 10,
        view_selection: Selection = "uniform",
        far: float | None = None,
        poses: Poses = "none",
        titles: Literal["none"] | Frame = "none",
        pool: Pool = "average",
        stride: int = 1,
        newline: Newline = "none",
        fit: Literal["square", "pad"] = "square",
    ) -> None:
        super().__init__(vision, pool, stride, newline, fit)
        if far is not None and not far > 0:
            raise InputError(f"far is {far}; a view sees farther than 0, or null")
        if poses != "none" and llm_dim < 1:
            raise InputError(f"poses={poses} needs llm_dim, the features' size, and it is {llm_dim}")
        self.max_views, self.view_selection, self.far, self.titles = max_views, view_selection, far, titles
        self.encoding = PoseEncoding(poses, vision, llm_dim)

    def prepare(self, data: Any) -> Visual:
        scene = open_scene(data, self.max_views)
        shown = [scene[i] for i in select(scene, self.max_views, self.view_selection, self.far)]
        pixels = self.views([load_image(view.picture) for view in shown])
        return Visual("scene3d", pixels, self.layout(self._titles(shown)), self.encoding.describe(shown, self.fit))

    def merge(self, features: Tensor, meta: Mapping[str, Any]) -> Tensor:
        return super().merge(self.encoding(features, meta), meta)

    def fewer(self, views: int) -> "Scene3D":
        changed = copy.copy(self)
        changed.max_views = min(self.max_views, views)
        return changed

    def example(self) -> Any:
        return list(np.random.default_rng(0).integers(0, 255, (3, 23, 41, 3), dtype=np.uint8))

    def _titles(self, shown: Sequence[View]) -> list[str]:
        """Where each camera stands; nothing before a view without one."""
        first = next((view.camera for view in shown if view.camera), None)
        if self.titles == "none" or first is None:
            return [""] * len(shown)
        return [
            f"{write_point(to_frame(view.camera.centre, first, self.titles))} " if view.camera else "" for view in shown
        ]
