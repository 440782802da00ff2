"""3D scenes as several views of them."""

import copy
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interleave import InputError, Resize, VisionSpec, Visual, modalities

from ..scenes.pose_encoding import PoseEncoding, Poses
from ..scenes.readers.open_scene import open_scene
from ..scenes.text_coordinates import Frame, to_frame, write_point
from ..scenes.view import View
from ..scenes.view_selection import Selection, select
from .base.pooled_views import Newline, Pool, PooledViews


@modalities.register("scene3d")
class Scene3D(PooledViews):
    """Views of one scene, one after another.

    Takes a folder or a list of pictures, or a scene with cameras: a folder in ScanNet's form, a COLMAP model, a
    ``transforms.json``, a nuScenes record, a mesh or a point cloud.

    llm_dim: width of the features that poses are added to; the assembly gives it.
    max_views: at most so many views are shown.
    view_selection: which ones, ``uniform`` over all, the ``farthest`` apart, or those that cover most (``coverage``);
        the last two need cameras.
    far: how far a view without depth is taken to see by ``coverage``, in the scene's units; null derives it from the
        cameras.
    poses: what patches learn of their place in the scene, with weights of their own: nothing (``none``), a
        ``pointmap`` from depth, or ``rays`` without depth.
    titles: write each camera's position before its view, in the axes of the ``world`` or of the ``first`` view.
    pool, stride, newline, fit, resize: as for videos, with views for frames.
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
        resize: Resize = "torch",
    ) -> None:
        """Raises InputError for options that do not fit."""
        super().__init__(vision, (pool, stride, newline), fit, resize)
        if far is not None and not far > 0:
            raise InputError(f"far is {far}; a view sees farther than 0, or null")
        if poses != "none" and llm_dim < 1:
            raise InputError(f"poses={poses} needs llm_dim, the features' size, and it is {llm_dim}")
        self.max_views, self.view_selection, self.far, self.titles = max_views, view_selection, far, titles
        self.encoding = PoseEncoding(poses, vision, llm_dim)

    def prepare(self, data: object) -> Visual:
        """A scene -> its views (V, 3, S, S), V at most ``max_views``. Raises BadSample."""
        scene = open_scene(data, self.max_views)
        shown = [scene[i] for i in select(scene, self.max_views, self.view_selection, self.far)]
        pixels = self.views([self.picture(view.picture) for view in shown])  # (V, 3, S, S)
        return Visual("scene3d", pixels, self.layout(self._titles(shown)), self.encoding.describe(shown, self.fit))

    def merge(self, features: Tensor, meta: Mapping[str, object]) -> Tensor:
        """(V, grid * grid, D) -> (n, D): what the patches learn of their place is added before they are pooled."""
        return super().merge(self.encoding(features, meta), meta)

    def fewer(self, views: int) -> "Scene3D":
        """The same adapter with at most ``views`` views."""
        changed = copy.copy(self)
        changed.max_views = min(self.max_views, views)
        return changed

    def example(self) -> list[NDArray[np.uint8]]:
        """3 pictures of noise, (23, 41, 3) each."""
        return list(np.random.default_rng(0).integers(0, 255, (3, 23, 41, 3), dtype=np.uint8))

    def _titles(self, shown: Sequence[View]) -> list[str]:
        """The position of each view's camera as text; empty before a view without one."""
        first = next((view.camera for view in shown if view.camera), None)  # its axes are those of ``titles="first"``
        titles: list[str] = []
        for view in shown:
            if self.titles == "none" or first is None or view.camera is None:
                titles.append("")
            else:
                titles.append(f"{write_point(to_frame(view.camera.centre, first, self.titles))} ")
        return titles
