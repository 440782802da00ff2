"""The drawings and questions of the mini data: five scenarios with exact truth, deterministic by seed.

Pictures are sparse on purpose: on a dark noisy ground, strong colours on a 4 x 4 grid of cells named a to p row by row.
Every function takes a random generator and returns a Scene.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Picture = NDArray[np.uint8]

CELL, SIDE = 8, 4
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (235, 40, 40),
    "green": (40, 200, 60),
    "blue": (50, 80, 245),
    "yellow": (240, 230, 50),
    "cyan": (50, 225, 230),
    "pink": (240, 90, 220),
    "white": (245, 245, 245),
    "orange": (250, 145, 30),
}
CELLS = "abcdefghijklmnop"
ORDINALS = ("first", "second", "third")
QUARTERS = ("top left", "top right", "bottom left", "bottom right")
MOVES: Mapping[str, tuple[int, int]] = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
FRAMES = 8
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Question:
    """form: its name. chance: what a guess among all answers of the form scores."""

    form: str
    text: str
    answer: str
    chance: float


@dataclass(frozen=True)
class Scene:
    """pictures: in reading order; of one size. ``video`` tells that they are frames of a file."""

    pictures: list[Picture]
    questions: list[Question]
    video: bool = False


def ground(rng: Generator, side: int = CELL * SIDE) -> Picture:
    return rng.integers(0, 40, (side, side, 3), dtype=np.uint8)


def paint(picture: Picture, top: int, left: int, colour: str, size: int = CELL) -> None:
    picture[top : top + size, left : left + size] = COLOURS[colour]


def fill(picture: Picture, cell: int, colour: str) -> None:
    paint(picture, cell // SIDE * CELL, cell % SIDE * CELL, colour)


def _colours(rng: Generator, count: int) -> list[str]:
    return [str(c) for c in rng.choice(list(COLOURS), count, replace=False)]


def _cells(rng: Generator, count: int) -> list[int]:
    return [int(c) for c in rng.choice(SIDE * SIDE, count, replace=False)]


def single_image(rng: Generator, split: str) -> Scene:
    """One square: its colour and its place."""
    (colour,), (cell,) = _colours(rng, 1), _cells(rng, 1)
    picture = ground(rng)
    fill(picture, cell, colour)
    questions = [
        Question("colour", "Which colour?", colour, 1 / 8),
        Question("where", "Where is it?", CELLS[cell], 1 / 16),
    ]
    return Scene([picture], questions)


def multi_image(rng: Generator, split: str) -> Scene:
    """Two pictures and what the second has more than the first, or three of which one shows a square."""
    colours, cells = _colours(rng, 3), _cells(rng, 3)
    if rng.random() < 4 / 5:
        squares = [(0, 1), (0, 1, 2)]
        question = Question("new", "What is new?", CELLS[cells[2]], 1 / 16)
    else:
        which = int(rng.integers(3))
        squares = [(0,) if i == which else () for i in range(3)]
        question = Question("which", "Which shows a square?", ORDINALS[which], 1 / 3)
    pictures = [ground(rng) for _ in squares]
    for picture, shown in zip(pictures, squares, strict=True):
        for i in shown:
            fill(picture, cells[i], colours[i])
    return Scene(pictures, [question])


def video(rng: Generator, split: str) -> Scene:
    """A square crosses the picture and changes its colour on the way."""
    move = str(rng.choice(list(MOVES)))
    first, second = _colours(rng, 2)
    size, reach = 6, CELL * SIDE - 6
    across, lane = np.linspace(0, reach, FRAMES).round().astype(int), int(rng.integers(0, reach + 1))
    down, right = MOVES[move]
    frames = []
    for i in range(FRAMES):
        step = int(across[i] if down + right > 0 else across[FRAMES - 1 - i])
        frame = ground(rng)
        paint(frame, *((step, lane) if down else (lane, step)), first if i < FRAMES // 2 else second, size)
        frames.append(frame)
    questions = [
        Question("direction", "Which way?", move, 1 / 4),
        Question("order", "Which colour first?", first, 1 / 8),
    ]
    return Scene(frames, questions, video=True)


def scene3d(rng: Generator, split: str) -> Scene:
    """A cube in a 4 x 4 x 4 room, seen from the front (x, z) and from the side (y, z).

    Its colour is asked in the test split only: a question form that this scenario never trains.
    """
    x, y, z = (int(v) for v in rng.integers(0, SIDE, 3))
    (colour,) = _colours(rng, 1)
    front, side = ground(rng), ground(rng)
    fill(front, (SIDE - 1 - z) * SIDE + x, colour)
    fill(side, (SIDE - 1 - z) * SIDE + y, colour)
    questions = [
        Question("position", "Where in x, y, z?", f"{x}{y}{z}", 1 / 64),
        Question("missing_view", "Where from above?", CELLS[y * SIDE + x], 1 / 16),
    ]
    if split == "test":
        questions.append(Question(HELD_OUT[1], "Which colour?", colour, 1 / 8))
    return Scene([front, side], questions)


def multi_patch(rng: Generator, split: str) -> Scene:
    """Handwritten digits on plates in a picture of 2 x 2 tiles: one anywhere, or one in every tile."""
    images, labels = _digits(split)
    every = bool(rng.random() < 2 / 3)
    picture = ground(rng, 2 * CELL * SIDE)
    tiles = range(4) if every else [int(rng.integers(4))]
    read = ""
    for tile in tiles:
        chosen, cell = int(rng.integers(len(images))), int(rng.integers(SIDE * SIDE))
        row, col = tile // 2 * SIDE + cell // SIDE, tile % 2 * SIDE + cell % SIDE
        picture[row * CELL : (row + 1) * CELL, col * CELL : (col + 1) * CELL] = _plate(rng, images[chosen])[..., None]
        read += str(labels[chosen])
    if every:
        return Scene([picture], [Question("digits", "Which digits?", read, 1 / 10)])
    questions = [
        Question("digit", "Which digit?", read, 1 / 10),
        Question("quarter", "Which quarter?", QUARTERS[tiles[0]], 1 / 4),
    ]
    return Scene([picture], questions)


def _plate(rng: Generator, digit: NDArray[np.float64]) -> Picture:
    """A grey cell with a stippled digit: its strokes are lighter and darker than the plate in turn.

    At half the size the stipple averages out, and what it leaves drowns in the plate's own noise, whose grain is two
    pixels wide: an overview shows where the plate is and not what it says. At full size both are easily told apart.
    """
    grain = np.kron(rng.uniform(-24, 24, (CELL // 2, CELL // 2)), np.ones((2, 2)))
    stipple = np.where(np.indices((CELL, CELL)).sum(0) % 2, 1.0, -1.0)
    plate: Picture = (127.5 + grain + 100 * digit / 16 * stipple).round().astype(np.uint8)
    return plate


@cache
def _digits(split: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels in 0..16, no image in two splits."""
    images, labels = load_digits().images, load_digits().target
    order = np.random.default_rng(0).permutation(len(images))
    parts = np.split(order, [int(0.7 * len(order)), int(0.8 * len(order))])
    chosen = parts[SPLITS.index(split)]
    return images[chosen], labels[chosen]


SCENARIOS: Mapping[str, Callable[[Generator, str], Scene]] = {
    f.__name__: f for f in (single_image, multi_image, video, scene3d, multi_patch)
}
SHARES: Mapping[str, float] = {
    "single_image": 0.8,
    "multi_image": 1.2,
    "video": 0.6,
    "scene3d": 0.8,
    "multi_patch": 1.6,
}
"""Of the training scenes, relative to an even share: digits need most."""
HELD_OUT = ("scene3d", "held_out_colour")
