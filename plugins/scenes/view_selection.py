"""Which views of a scene are shown: the only place that chooses among them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from interleave import BadSample, uniform

from .patch_rays import ray_matrix
from .view import Camera, Matrix, View

Selection = Literal["uniform", "farthest", "coverage"]
"""``uniform``: evenly in the order of the data. ``farthest``: each next one as far as possible, in place and direction,
from those chosen before, beginning with the first. ``coverage``: each next one sees most of what none has seen yet,
until nothing new is left to see."""

CANDIDATES = 128
"""``coverage`` looks at so many views at most, uniform ones: it reads their depth."""
STEPS = 12
"""Places along each ray."""
RAYS = (16, 12)
"""Rays of a view, in x and y."""
VOXELS = 20
"""So many make up the reach of a view."""


def select(views: Sequence[View], count: int, by: Selection, far: float | None = None) -> list[int]:
    """Numbers of at most ``count`` of the views, in their order; the same ones every time.

    far: how far a view without depth is taken to see, in the scene's unit; None derives it from the cameras. Raises
    BadSample where the choice needs cameras and views have none.
    """
    if by == "uniform":
        return uniform(len(views), count)
    cameras = [view.camera for view in views if view.camera]
    if len(cameras) < len(views):
        raise BadSample(
            "no cameras",
            f"{len(views) - len(cameras)} of {len(views)} views have no camera, and views={by} chooses by cameras; "
            "views=uniform does not",
        )
    return sorted(CHOOSE[by](views, cameras, count, far))


def _farthest(views: Sequence[View], cameras: Sequence[Camera], count: int, far: float | None) -> list[int]:
    """A turn by 60 degrees counts as much as the cameras' mean distance from their middle."""
    centres = np.stack([camera.centre for camera in cameras])
    places = np.hstack([centres / (_spread(centres) or 1.0), np.stack([camera.direction for camera in cameras])])
    chosen = [0]
    nearest = np.linalg.norm(places - places[0], axis=1)
    while len(chosen) < min(count, len(cameras)):
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return chosen


def _coverage(views: Sequence[View], cameras: Sequence[Camera], count: int, far: float | None) -> list[int]:
    """Greedy: within 63% of the most that any choice of as many views could cover."""
    among = uniform(len(views), CANDIDATES)
    depths = [_depths(views[i]) for i in among]
    known = np.concatenate([depth[depth > 0] for depth in depths])
    reach = far or 2 * _spread(np.stack([camera.centre for camera in cameras])) or 1.0
    size = (float(np.median(known)) if len(known) else reach) / VOXELS
    lengths = [depth if depth.any() else np.full_like(depth, reach) for depth in depths]
    seen = [_voxels(cameras[i], length, size) for i, length in zip(among, lengths, strict=True)]
    numbers = np.unique(np.concatenate(seen), axis=0, return_inverse=True)[1].reshape(-1)
    parts = np.split(numbers, np.cumsum([len(part) for part in seen])[:-1])
    left = np.ones(int(numbers.max()) + 1, bool)
    chosen: list[int] = []
    while len(chosen) < min(count, len(among)):
        gains = [int(left[part].sum()) for part in parts]
        best = int(np.argmax(gains))
        if not gains[best]:
            break
        chosen.append(best)
        left[parts[best]] = False
    return [among[i] for i in chosen]


CHOOSE: Mapping[str, Callable[[Sequence[View], Sequence[Camera], int, float | None], list[int]]] = {
    "farthest": _farthest,
    "coverage": _coverage,
}


def _spread(centres: Matrix) -> float:
    """Mean distance from the middle."""
    return float(np.linalg.norm(centres - centres.mean(0), axis=1).mean())


def _depths(view: View) -> Matrix:
    """(RAYS[1], RAYS[0]), looked up in the middle of as many parts of the view; 0 where it is not known."""
    depth = view.metres()
    if depth is None:
        return np.zeros(RAYS[::-1])
    rows, cols = (
        ((np.arange(n) + 0.5) / n * side).astype(int) for n, side in zip(RAYS[::-1], depth.shape, strict=True)
    )
    found: Matrix = depth[np.ix_(rows, cols)]
    return found


def _voxels(camera: Camera, depth: Matrix, size: float) -> NDArray[np.int64]:
    """(n, 3): cells of the world, of side ``size``, that lie in the view's frustum up to its depth."""
    x, y = np.meshgrid(*((np.arange(n) + 0.5) / n for n in RAYS))
    ahead = np.stack([x, y, np.ones_like(x)], -1) @ ray_matrix(camera, "square")[:, :3].T
    along = (np.arange(STEPS) + 1) / STEPS
    points = camera.centre + ahead[..., None, :] * (depth[..., None] * along)[..., None]
    return np.unique(np.floor(points.reshape(-1, 3) / size).astype(np.int64), axis=0)
