"""Synthetic scenes with exact truth: coloured boxes on a floor, seen by a ring of cameras. write.py writes them.

World axes: x and y along the floor, z up, in metres; the floor is at z = 0 with its middle at the origin. Pictures,
depth and what each pixel shows are cast ray by ray, so they agree with the cameras to the last digit. Camera axes,
pixels and depth are as in view.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..cameras import focal_length, pinhole
from ..view import Camera, Matrix, View

Numbers = NDArray[np.int64]

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 50, 47),
    "green": (60, 170, 70),
    "blue": (50, 90, 220),
    "yellow": (235, 205, 50),
    "cyan": (60, 200, 210),
    "pink": (225, 100, 190),
    "orange": (240, 140, 40),
    "purple": (130, 70, 190),
}
FLOOR, NOTHING = -1, -2
"""What stands for the floor and for the sky where pixels are labelled with the number of the thing that they show."""
SHADES = np.array([0.82, 0.66, 1.0])
"""Brightness of the faces whose normal is the x, y or z axis."""
TILES = ((150, 150, 150), (176, 176, 176))
"""The two greys of the floor's chequered tiles, each half a metre wide."""
SKY = (214, 226, 240)
ANGLE = 1.05
"""Horizontal field of view, in radians."""


@dataclass(frozen=True)
class Thing:
    """A box along the world's axes.

    name: as a question calls it, such as ``red box``.
    colour: red, green and blue from 0 to 255.
    low, high: (3,) opposite corners, in metres.
    """

    name: str
    colour: tuple[int, int, int]
    low: Matrix
    high: Matrix

    @property
    def centre(self) -> Matrix:
        """(3,) in metres."""
        return (self.low + self.high) / 2

    @property
    def size(self) -> Matrix:
        """(3,) edge lengths in metres."""
        return self.high - self.low


@dataclass(frozen=True)
class SyntheticScene:
    """Boxes, and what the cameras around them see.

    things: the boxes.
    views: their pictures are (H, W, 3) uint8, their depth (H, W) metres.
    shown: for each view (H, W), the number of the thing that each pixel shows, or ``FLOOR`` or ``NOTHING``.
    floor: half the side of the square floor, in metres.
    """

    things: Sequence[Thing]
    views: Sequence[View]
    shown: Sequence[Numbers]
    floor: float


def make_scene(
    seed: int,
    things: int = 5,
    views: int = 8,
    size: tuple[int, int] = (96, 72),
    floor: float = 2.5,
    radius: float = 4.5,
) -> SyntheticScene:
    """A random scene, the same one for the same arguments.

    seed: of the boxes and of the cameras.
    things: how many boxes, up to 8; they have different colours.
    views: how many cameras.
    size: width and height of pictures in pixels.
    floor: half the side of the floor, in metres.
    radius: of the ring of cameras, in metres; their heights are random.
    """
    rng = np.random.default_rng(seed)
    boxes = _boxes(rng, things, floor)
    drawn: list[View] = []
    labels: list[Numbers] = []
    for number, camera in enumerate(ring(rng, views, size, radius)):
        view, shown = draw(boxes, camera, floor)
        drawn.append(replace(view, name=f"{number:03d}"))
        labels.append(shown)
    return SyntheticScene(boxes, drawn, labels, floor)


def ring(rng: Generator, count: int, size: tuple[int, int], radius: float) -> list[Camera]:
    """Cameras evenly around the z axis, each at its own random height, looking at its own random point near the middle.

    size: width and height in pixels. radius: in metres.
    """
    width, height = size
    focal = focal_length(ANGLE, width)
    start = rng.uniform(0, 2 * np.pi)
    cameras = []
    for angle in start + np.linspace(0, 2 * np.pi, count, endpoint=False):
        position = np.array([radius * np.cos(angle), radius * np.sin(angle), rng.uniform(1.2, 3.0)])
        target = rng.uniform((-0.4, -0.4, 0), (0.4, 0.4, 0.8))
        intrinsics = pinhole(focal, focal, width / 2, height / 2)
        cameras.append(Camera(look_at(position, target), intrinsics, width, height))
    return cameras


def look_at(position: Matrix, target: Matrix) -> Matrix:
    """(4, 4) camera-to-world pose of an upright camera at ``position`` (3,), which sees ``target`` (3,) in its middle.

    The world's z axis is up; the camera must not look straight along it.
    """
    ahead = (target - position) / np.linalg.norm(target - position)
    right = np.cross(ahead, (0, 0, 1.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    # columns: the camera's x (right), y (down = ahead x right) and z (ahead) axes in the world, and its position
    pose[:3] = np.stack([right, np.cross(ahead, right), ahead, position], 1)
    return pose


def draw(things: Sequence[Thing], camera: Camera, floor: float) -> tuple[View, Numbers]:
    """What a camera sees: a view with picture (H, W, 3) uint8 and depth (H, W), and labels (H, W).

    floor: half the side of the floor in metres. Labels are the number of the thing that a pixel shows, ``FLOOR`` or
    ``NOTHING``. Depth is in metres, 0 where a pixel shows nothing.
    """
    rays = pixel_rays(camera)
    depth, shown = np.full(rays.shape[:2], np.inf), np.full(rays.shape[:2], NOTHING)  # (H, W) each
    picture = np.full((*rays.shape[:2], 3), SKY, np.uint8)
    below, tiles = _hit_floor(camera.centre, rays, floor)
    on_floor = below < np.inf
    depth[on_floor] = below[on_floor]
    shown[on_floor] = FLOOR
    picture[on_floor] = np.array(TILES, np.uint8)[tiles][on_floor]
    for number, thing in enumerate(things):
        distance, face = _hit_box(camera.centre, rays, thing)
        nearer = distance < depth
        depth[nearer] = distance[nearer]
        shown[nearer] = number
        picture[nearer] = (SHADES[face][..., None] * thing.colour).round().astype(np.uint8)[nearer]
    return View(picture, camera, np.where(np.isfinite(depth), depth, 0.0)), shown


def pixel_rays(camera: Camera) -> Matrix:
    """(H, W, 3) directions in the world through the centre of every pixel.

    They have length 1 along the camera's z axis, so ``camera.centre + depth * ray`` is the point at a depth.
    """
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    through = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(camera.intrinsics).T  # K^-1 (x, y, 1)
    rays: Matrix = through @ camera.pose[:3, :3].T  # into world axes
    return rays


def _hit_floor(centre: Matrix, rays: Matrix, floor: float) -> tuple[Matrix, Numbers]:
    """Where rays (H, W, 3) from ``centre`` (3,) meet the floor.

    Returns (H, W) the depth, infinite beside the floor, and (H, W) the kind of tile, 0 or 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = -centre[2] / rays[..., 2]  # c_z + t r_z = 0
        position = centre[:2] + distance[..., None] * rays[..., :2]  # (H, W, 2)
    hit = (distance > 0) & (np.abs(position) <= floor).all(-1)
    tiles = np.floor(np.where(hit[..., None], position, 0) * 2).astype(np.int64).sum(-1) % 2  # two tiles a metre
    return np.where(hit, distance, np.inf), tiles


def _hit_box(centre: Matrix, rays: Matrix, thing: Thing) -> tuple[Matrix, Numbers]:
    """Where rays (H, W, 3) from ``centre`` (3,) meet a box, by the slab method.

    Returns (H, W) the depth, infinite beside the box, and (H, W) the axis of the face that is hit: 0, 1 or 2.
    """
    with np.errstate(divide="ignore"):
        first, second = (thing.low - centre) / rays, (thing.high - centre) / rays  # where each axis' planes are met
    enter, leave = np.minimum(first, second), np.maximum(first, second).min(-1)
    distance = enter.max(-1)  # inside of the box from the last plane entered to the first one left
    return np.where((distance <= leave) & (distance > 0), distance, np.inf), enter.argmax(-1)


def _boxes(rng: Generator, count: int, floor: float) -> list[Thing]:
    """Random boxes in different cells of a 3 x 3 grid on the floor, so that none stands in another."""
    side = 3
    cell = 2 * floor / side  # in metres
    names = rng.choice(list(COLOURS), count, replace=False)
    boxes = []
    for name, number in zip(names, rng.choice(side * side, count, replace=False), strict=True):
        corner = np.array([number // side, number % side]) * cell - floor  # of the cell
        size = rng.uniform(0.35, 0.75, 2) * cell
        low = np.array([*(corner + rng.uniform(0, 1, 2) * (cell - size)), 0.0])
        high = low + np.array([*size, rng.uniform(0.3, 1.2)])
        boxes.append(Thing(f"{name} box", COLOURS[str(name)], low, high))
    return boxes
