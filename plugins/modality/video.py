"""Videos as frames."""

import copy
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from interleave import Resize, VisionSpec, Visual, modalities, read_frames

from .base.pooled_views import Newline, Pool, PooledViews


@modalities.register("video")
class Video(PooledViews):
    """Uniform frames as views. Takes a file, a folder of frames or a list of pictures.

    num_frames: at most so many frames are shown.
    pool: how squares of a frame's tokens become one token, by ``average``, ``max``, ``bilinear`` or by taking one
        (``stride``).
    stride: the side of these squares in tokens; 1 keeps all tokens.
    newline: where the learned separator stands: never (``none``), once at the very end (``one_token``), after each
        ``frame``, or after each row of each frame (``grid``).
    reader: what decodes files; ``auto`` takes the first that is installed.
    sampling: which frames are shown, ``uniform`` over the clip, as published, ``fps`` of them a second, or
        ``keyframes``.
    fps: frames a second, for ``sampling=fps``.
    timeout: seconds after which reading a file is given up.
    times: write each frame's time in seconds before it.
    fit, resize: as for images.
    """

    samples = True

    def __init__(  # noqa: PLR0913 (the options that a config sets)
        self,
        vision: VisionSpec,
        num_frames: int = 10,
        pool: Pool = "average",
        stride: int = 1,
        newline: Newline = "none",
        reader: Literal["auto", "pyav", "torchcodec", "decord"] = "auto",
        sampling: Literal["uniform", "fps", "keyframes"] = "uniform",
        fps: float | None = None,
        timeout: float = 60.0,
        times: bool = False,
        fit: Literal["square", "pad"] = "square",
        resize: Resize = "torch",
    ) -> None:
        super().__init__(vision, (pool, stride, newline), fit, resize)
        self.num_frames, self.times = num_frames, times
        self.read_frames = partial(read_frames, reader=reader, sampling=sampling, fps=fps, timeout=timeout)

    def prepare(self, data: object) -> Visual:
        """A video -> its frames (V, 3, S, S), V at most ``num_frames``. Raises BadSample."""
        frames, seconds = self.read_frames(data, self.num_frames)
        pictures = [self.picture(frame) for frame in frames]
        titles = [f"{second:.1f}s " if self.times else "" for second in seconds]
        return Visual("video", self.views(pictures), self.layout(titles))

    def fewer(self, views: int) -> "Video":
        """The same adapter with at most ``views`` frames."""
        changed = copy.copy(self)
        changed.num_frames = min(self.num_frames, views)
        return changed

    def example(self) -> list[NDArray[np.uint8]]:
        """13 frames of noise, (23, 41, 3) each."""
        return list(np.random.default_rng(0).integers(0, 255, (13, 23, 41, 3), dtype=np.uint8))
