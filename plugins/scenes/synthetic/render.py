"""Scenes with exact truth: coloured boxes on a floor, seen by a ring of cameras. synthetic_files.py writes them.

World axes: x and y along the floor, z up, in metres. Pictures, depth and what each pixel shows are cast ray by ray, so
that they agree with the cameras to the last digit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..cameras import focal_of, pinhole
from ..view import Camera, Matrix, View

Numbers = NDArray[np.int64]
Picture = NDArray[np.uint8]

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
"""What a pixel shows that shows no thing."""
SHADES = np.array([0.82, 0.66, 1.0])
"""Of the faces whose normal is x, y or z."""
TILES = ((150, 150, 150), (176, 176, 176))
SKY = (214, 226, 240)
ANGLE = 1.05
"""Horizontal field of view, in radians."""


@dataclass(frozen=True)
class Thing:
    """A box along the axes. low, high: (3,) corners. name: ``red box``."""

    name: str
    colour: tuple[int, int, int]
    low: Matrix
    high: Matrix

    @property
    def centre(self) -> Matrix:
        return (self.low + self.high) / 2

    @property
    def size(self) -> Matrix:
        return self.high - self.low


@dataclass(frozen=True)
class SyntheticScene:
    """views: with pictures (H, W, 3) uint8 and depth (H, W) metres. shown: (H, W) for each view, the number of the
    thing that a pixel shows, or ``FLOOR`` or ``NOTHING``. floor: half its side."""

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
    """The same scene for the same arguments. things: up to 8, of different colours. size: of pictures, width first.

    radius: of the ring of cameras, whose heights are random.
    """
    rng = np.random.default_rng(seed)
    boxes = _boxes(rng, things, floor)
    made = [draw(boxes, camera, floor) for camera in ring(rng, views, size, radius)]
    named = [View(v.picture, v.camera, v.depth, f"{i:03d}") for i, (v, _) in enumerate(made)]
    return SyntheticScene(boxes, named, [shown for _, shown in made], floor)


def ring(rng: Generator, count: int, size: tuple[int, int], radius: float) -> list[Camera]:
    """Cameras around the middle, evenly, each at its own height and looking at its own point near the middle."""
    width, height = size
    focal = focal_of(ANGLE, width)
    start = rng.uniform(0, 2 * np.pi)
    cameras = []
    for angle in start + np.linspace(0, 2 * np.pi, count, endpoint=False):
        place = np.array([radius * np.cos(angle), radius * np.sin(angle), rng.uniform(1.2, 3.0)])
        target = rng.uniform((-0.4, -0.4, 0), (0.4, 0.4, 0.8))
        cameras.append(Camera(look_at(place, target), pinhole(focal, focal, width / 2, height / 2), width, height))
    return cameras


def look_at(place: Matrix, target: Matrix) -> Matrix:
    """(4, 4) pose of an upright camera in a world whose z is up."""
    ahead = (target - place) / np.linalg.norm(target - place)
    right = np.cross(ahead, (0, 0, 1.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(ahead, right), ahead, place], 1)
    return pose


def draw(things: Sequence[Thing], camera: Camera, floor: float) -> tuple[View, Numbers]:
    """What a camera sees, and (H, W) the number of the thing that each pixel shows."""
    rays = pixel_rays(camera)
    depth, shown = np.full(rays.shape[:2], np.inf), np.full(rays.shape[:2], NOTHING)
    picture = np.full((*rays.shape[:2], 3), SKY, np.uint8)
    below, tiles = _floor(camera.centre, rays, floor)
    depth[below < np.inf], shown[below < np.inf] = below[below < np.inf], FLOOR
    picture[below < np.inf] = np.array(TILES, np.uint8)[tiles][below < np.inf]
    for number, thing in enumerate(things):
        distance, face = _box(camera.centre, rays, thing)
        nearer = distance < depth
        depth[nearer], shown[nearer] = distance[nearer], number
        picture[nearer] = (SHADES[face][..., None] * thing.colour).round().astype(np.uint8)[nearer]
    return View(picture, camera, np.where(np.isfinite(depth), depth, 0.0)), shown


def pixel_rays(camera: Camera) -> Matrix:
    """(H, W, 3) in the world, of length 1 along the camera's z, through the centre of every pixel."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    through = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(camera.intrinsics).T
    rays: Matrix = through @ camera.pose[:3, :3].T
    return rays


def _floor(centre: Matrix, rays: Matrix, floor: float) -> tuple[Matrix, Numbers]:
    """(H, W) distance along the camera's z, infinite beside the floor, and which tile is hit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = -centre[2] / rays[..., 2]
        place = centre[:2] + distance[..., None] * rays[..., :2]
    hit = (distance > 0) & (np.abs(place) <= floor).all(-1)
    tiles = np.floor(np.where(hit[..., None], place, 0) * 2).astype(np.int64).sum(-1) % 2
    return np.where(hit, distance, np.inf), tiles


def _box(centre: Matrix, rays: Matrix, thing: Thing) -> tuple[Matrix, Numbers]:
    """(H, W) distance along the camera's z, infinite beside the box, and the axis of the face that is hit."""
    with np.errstate(divide="ignore"):
        first, second = (thing.low - centre) / rays, (thing.high - centre) / rays
    enter, leave = np.minimum(first, second), np.maximum(first, second).min(-1)
    distance = enter.max(-1)
    return np.where((distance <= leave) & (distance > 0), distance, np.inf), enter.argmax(-1)


def _boxes(rng: Generator, count: int, floor: float) -> list[Thing]:
    """Boxes in different cells of the floor, so that none stands in another."""
    side = 3
    cell = 2 * floor / side
    names = rng.choice(list(COLOURS), count, replace=False)
    boxes = []
    for name, place in zip(names, rng.choice(side * side, count, replace=False), strict=True):
        corner = np.array([place // side, place % side]) * cell - floor
        size = rng.uniform(0.35, 0.75, 2) * cell
        low = np.array([*(corner + rng.uniform(0, 1, 2) * (cell - size)), 0.0])
        high = low + np.array([*size, rng.uniform(0.3, 1.2)])
        boxes.append(Thing(f"{name} box", COLOURS[str(name)], low, high))
    return boxes
