"""Which views of a scene are shown: the only place that chooses among them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from interleave import BadSample, uniform

from .patch_rays import ray_matrix
from .view import Camera, Matrix, View

Selection = Literal["uniform", "farthest", "coverage"]
"""``uniform``: evenly in the order of the data.
``farthest``: begin with the first view; each next one is the farthest, in position and direction, from those chosen
before (farthest point sampling).
``coverage``: each next one sees most of what no chosen view has seen, until nothing new is left to see."""

CANDIDATES = 128
"""``coverage`` looks at this many views at most, uniform ones, because it reads their depth."""
STEPS = 12
"""Points along each ray that count as seen."""
RAYS = (16, 12)
"""Rays of a view, in x and in y, that ``coverage`` follows."""
VOXELS = 20
"""Voxels along the depth that a view sees: this sets their size."""


def select(views: Sequence[View], count: int, by: Selection, far: float | None = None) -> list[int]:
    """Numbers of at most ``count`` of the views, in the order of the data. The choice is the same every time.

    by: how to choose.
    far: how far a view without depth is taken to see, in the scene's unit, for ``coverage``; None derives it from the
        positions of the cameras.

    Raises BadSample where the choice needs cameras and views have none.
    """
    if by == "uniform":
        return uniform(len(views), count)
    cameras = [view.camera for view in views if view.camera]
    if len(cameras) < len(views):
        raise BadSample(
            "no cameras",
            f"{len(views) - len(cameras)} of {len(views)} views have no camera, and view_selection={by} "
            "chooses by cameras; view_selection=uniform does not",
        )
    return sorted(CHOOSE[by](views, cameras, count, far))


def _farthest(views: Sequence[View], cameras: Sequence[Camera], count: int, far: float | None) -> list[int]:
    """Farthest point sampling in six numbers for each camera: its position, in units of the spread, and its direction.

    Unit vectors 60 degrees apart have the distance 1, so such a turn counts as much as a step of one spread.
    """
    centres = np.stack([camera.centre for camera in cameras])  # (n, 3)
    directions = np.stack([camera.direction for camera in cameras])  # (n, 3)
    points = np.hstack([centres / (_spread(centres) or 1.0), directions])  # (n, 6)
    chosen = [0]
    nearest = np.linalg.norm(points - points[0], axis=1)  # (n,) distance to the nearest chosen one
    while len(chosen) < min(count, len(cameras)):
        nearest[chosen] = -1  # never again, even where all are at one point
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen


def _coverage(views: Sequence[View], cameras: Sequence[Camera], count: int, far: float | None) -> list[int]:
    """Greedy maximum coverage of the voxels that views see.

    Greedy choice covers at least 1 - 1/e, 63%, of what the best choice of as many views covers.
    """
    candidates = uniform(len(views), CANDIDATES)
    depths = [_sampled_depth(views[i]) for i in candidates]
    known = np.concatenate([depth[depth > 0] for depth in depths])
    # without depth a view is taken to see twice as far as the cameras are spread
    reach = far or 2 * _spread(np.stack([camera.centre for camera in cameras])) or 1.0
    size = (float(np.median(known)) if len(known) else reach) / VOXELS
    seen = []
    for i, depth in zip(candidates, depths, strict=True):
        length = depth if depth.any() else np.full_like(depth, reach)
        seen.append(_seen_voxels(cameras[i], length, size))
    return [candidates[i] for i in _greedy_cover(seen, count)]


def _greedy_cover(seen: Sequence[NDArray[np.int64]], count: int) -> list[int]:
    """Numbers of at most ``count`` of the sets of voxels, each (n, 3), best first; stops where none is new."""
    numbers = np.unique(np.concatenate(seen), axis=0, return_inverse=True)[1].reshape(-1)  # voxels by number, all sets
    sets = np.split(numbers, np.cumsum([len(voxels) for voxels in seen])[:-1])
    left = np.ones(int(numbers.max()) + 1, bool)  # whether a voxel is still to be seen
    chosen: list[int] = []
    while len(chosen) < min(count, len(sets)):
        gains = [int(left[voxels].sum()) for voxels in sets]
        best = int(np.argmax(gains))
        if not gains[best]:
            break
        chosen.append(best)
        left[sets[best]] = False
    return chosen


CHOOSE: Mapping[str, Callable[[Sequence[View], Sequence[Camera], int, float | None], list[int]]] = {
    "farthest": _farthest,
    "coverage": _coverage,
}
"""The ways to choose by cameras: from the views, their cameras, ``count`` and ``far`` to numbers in any order."""


def _spread(centres: Matrix) -> float:
    """Mean distance of points (n, 3) from their mean."""
    return float(np.linalg.norm(centres - centres.mean(0), axis=1).mean())


def _sampled_depth(view: View) -> Matrix:
    """(RAYS[1], RAYS[0]) depth in metres at the middles of as many equal parts of the view, 0 where it is unknown."""
    depth = view.depth_in_metres()
    if depth is None:
        return np.zeros(RAYS[::-1])
    columns, rows = RAYS
    height, width = depth.shape
    y = ((np.arange(rows) + 0.5) / rows * height).astype(int)
    x = ((np.arange(columns) + 0.5) / columns * width).astype(int)
    found: Matrix = depth[np.ix_(y, x)]
    return found


def _seen_voxels(camera: Camera, depth: Matrix, size: float) -> NDArray[np.int64]:
    """(n, 3) voxels of the world, with sides of ``size``, that lie in the view's frustum up to its depth.

    depth: (RAYS[1], RAYS[0]) in metres. A voxel is named by its integer position in units of ``size``.
    """
    columns, rows = RAYS
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)  # in a square view
    ahead = np.stack([x, y, np.ones_like(x)], -1) @ ray_matrix(camera, "square")[:, :3].T  # (rows, columns, 3)
    along = (np.arange(STEPS) + 1) / STEPS  # (STEPS,) shares of the depth
    lengths = depth[..., None] * along  # (rows, columns, STEPS)
    points = camera.centre + ahead[..., None, :] * lengths[..., None]  # (rows, columns, STEPS, 3)
    return np.unique(np.floor(points.reshape(-1, 3) / size).astype(np.int64), axis=0)
