"""The pictures and questions of the mini data: five scenarios with exact answers, deterministic by seed.

All pictures but the digits show coloured squares on a dark noisy ground. A picture has 4 x 4 cells of 8 x 8 pixels,
named ``a`` to ``p`` row by row. Each scenario is a function of a random generator and a split that returns a ``Scene``.
The order in which a function draws random numbers is part of the data: another order makes other pictures.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Picture = NDArray[np.uint8]
"""(H, W, 3), RGB."""

CELL = 8  # pixels along one side of a cell
SIDE = 4  # cells along one side of a picture, so that a picture has 32 x 32 pixels
CELLS = "abcdefghijklmnop"
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
ORDINALS = ("first", "second", "third")
QUARTERS = ("top left", "top right", "bottom left", "bottom right")
MOVES: Mapping[str, tuple[int, int]] = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
"""Name of a direction -> signs of its steps down and to the right."""
FRAMES = 8
"""Frames of a video."""
SPLITS = ("train", "validation", "test")
HELD_OUT = ("scene3d", "held_out_colour")
"""Scenario and form of the one question that only the test split asks: a form which that scenario never trains."""


@dataclass(frozen=True)
class Question:
    """One question about a scene.

    form: the name of the question's form, such as ``colour``.
    text: what is asked.
    answer: the one right reply.
    chance: the accuracy of a guess among all answers that the form can have.
    """

    form: str
    text: str
    answer: str
    chance: float


@dataclass(frozen=True)
class Scene:
    """What one conversation is about.

    pictures: of one size, in reading order.
    questions: at least one.
    video: whether the pictures are the frames of one video.
    """

    pictures: list[Picture]
    questions: list[Question]
    video: bool = False


def ground(rng: Generator, side: int = CELL * SIDE) -> Picture:
    """A dark noisy square picture of ``side`` pixels, (side, side, 3)."""
    return rng.integers(0, 40, (side, side, 3), dtype=np.uint8)


def paint(picture: Picture, top: int, left: int, colour: str, size: int = CELL) -> None:
    """Draw a square of ``size`` pixels whose corner is at (top, left)."""
    picture[top : top + size, left : left + size] = COLOURS[colour]


def fill(picture: Picture, cell: int, colour: str) -> None:
    """Draw a square that fills a cell. cell: 0 to 15, row by row."""
    row, column = divmod(cell, SIDE)
    paint(picture, row * CELL, column * CELL, colour)


def _draw_colours(rng: Generator, count: int) -> list[str]:
    """Names of ``count`` different colours."""
    return [str(colour) for colour in rng.choice(list(COLOURS), count, replace=False)]


def _draw_cells(rng: Generator, count: int) -> list[int]:
    """Numbers of ``count`` different cells."""
    return [int(cell) for cell in rng.choice(SIDE * SIDE, count, replace=False)]


def single_image(rng: Generator, split: str) -> Scene:
    """One square: its colour and its cell are asked."""
    colour = _draw_colours(rng, 1)[0]
    cell = _draw_cells(rng, 1)[0]
    picture = ground(rng)
    fill(picture, cell, colour)
    questions = [
        Question("colour", "Which colour?", colour, 1 / 8),  # eight colours
        Question("where", "Where is it?", CELLS[cell], 1 / 16),  # sixteen cells
    ]
    return Scene([picture], questions)


def multi_image(rng: Generator, split: str) -> Scene:
    """Two pictures, of which the second has one square more; or three pictures, of which one has a square."""
    colours = _draw_colours(rng, 3)
    cells = _draw_cells(rng, 3)
    squares: list[tuple[int, ...]]  # for each picture, which of the three squares it shows
    if rng.random() < 4 / 5:  # one scene in five asks the other question
        squares = [(0, 1), (0, 1, 2)]
        question = Question("new", "What is new?", CELLS[cells[2]], 1 / 16)
    else:
        which = int(rng.integers(3))
        squares = [(), (), ()]
        squares[which] = (0,)
        question = Question("which", "Which shows a square?", ORDINALS[which], 1 / 3)
    pictures = [ground(rng) for _ in squares]
    for picture, shown in zip(pictures, squares, strict=True):
        for i in shown:
            fill(picture, cells[i], colours[i])
    return Scene(pictures, [question])


def video(rng: Generator, split: str) -> Scene:
    """A square crosses the picture in a straight line and changes its colour half way."""
    move = str(rng.choice(list(MOVES)))  # one of the four directions
    first, second = _draw_colours(rng, 2)
    size = 6
    reach = CELL * SIDE - size  # the largest coordinate of the square's corner
    across = np.linspace(0, reach, FRAMES).round().astype(int)  # (FRAMES,) pixels along the way
    lane = int(rng.integers(0, reach + 1))  # the coordinate that stays
    down, right = MOVES[move]
    frames = []
    for i in range(FRAMES):
        step = int(across[i] if down + right > 0 else across[FRAMES - 1 - i])  # up and left run backwards
        top, left = (step, lane) if down else (lane, step)
        frame = ground(rng)  # the noise of each frame is its own
        paint(frame, top, left, first if i < FRAMES // 2 else second, size)
        frames.append(frame)
    questions = [
        Question("direction", "Which way?", move, 1 / 4),
        Question("order", "Which colour first?", first, 1 / 8),
    ]
    return Scene(frames, questions, video=True)


def scene3d(rng: Generator, split: str) -> Scene:
    """A cube in a room of 4 x 4 x 4 places, seen from the front (x, z) and from the side (y, z); z points up.

    Its colour is asked in the test split only (``HELD_OUT``).
    """
    x, y, z = (int(place) for place in rng.integers(0, SIDE, 3))
    colour = _draw_colours(rng, 1)[0]
    front = ground(rng)
    side = ground(rng)
    row = SIDE - 1 - z  # rows are counted from the top
    fill(front, row * SIDE + x, colour)
    fill(side, row * SIDE + y, colour)
    questions = [
        Question("position", "Where in x, y, z?", f"{x}{y}{z}", 1 / 64),  # 4 * 4 * 4 places
        Question("missing_view", "Where from above?", CELLS[y * SIDE + x], 1 / 16),  # x to the right, y downwards
    ]
    if split == "test":
        questions.append(Question(HELD_OUT[1], "Which colour?", colour, 1 / 8))
    return Scene([front, side], questions)


def multi_patch(rng: Generator, split: str) -> Scene:
    """Handwritten digits in a picture of 2 x 2 tiles of the usual size: one digit anywhere, or one in every tile."""
    images, labels = _digits(split)
    every = bool(rng.random() < 2 / 3)  # two scenes in three have a digit in every tile
    picture = ground(rng, 2 * CELL * SIDE)  # (64, 64, 3)
    tiles = range(4) if every else [int(rng.integers(4))]
    digits = ""
    for tile in tiles:
        chosen = int(rng.integers(len(images)))
        cell = int(rng.integers(SIDE * SIDE))  # within the tile
        row = tile // 2 * SIDE + cell // SIDE  # in cells of the whole picture
        column = tile % 2 * SIDE + cell % SIDE
        plate = _plate(rng, images[chosen])  # (CELL, CELL)
        picture[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = plate[..., None]
        digits += str(labels[chosen])
    if every:
        # the score is the share of right digits, so that the chance is that of one digit
        return Scene([picture], [Question("digits", "Which digits?", digits, 1 / 10)])
    questions = [
        Question("digit", "Which digit?", digits, 1 / 10),
        Question("quarter", "Which quarter?", QUARTERS[tiles[0]], 1 / 4),
    ]
    return Scene([picture], questions)


def _plate(rng: Generator, digit: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A grey cell with a stippled digit, (CELL, CELL): strokes are lighter and darker than the plate in turn.

    digit: (CELL, CELL), 0 to 16, as scikit-learn has it.

    Resized to half the size, the stipple averages out, and the little that is left is weaker than the plate's own
    noise, whose grain is two pixels wide. So an overview shows where the plate is and not which digit it holds. At
    full size both are easily told apart.
    """
    grain = np.kron(rng.uniform(-24, 24, (CELL // 2, CELL // 2)), np.ones((2, 2)))  # (CELL, CELL)
    stipple = np.where(np.indices((CELL, CELL)).sum(0) % 2, 1.0, -1.0)  # (CELL, CELL), a chessboard of 1 and -1
    # middle grey, noise, and strokes of up to 100 grey values
    plate: NDArray[np.uint8] = (127.5 + grain + 100 * digit / 16 * stipple).round().astype(np.uint8)
    return plate


@cache
def _digits(split: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """scikit-learn's 1,797 handwritten digits: images (n, 8, 8) of 0 to 16, labels (n,). No image is in two splits."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.images))  # (n,), the same for every seed of the data
    ends = [int(0.7 * len(order)), int(0.8 * len(order))]  # 70% train, 10% validation, 20% test
    chosen = np.split(order, ends)[SPLITS.index(split)]
    return found.images[chosen], found.target[chosen]


SCENARIOS: Mapping[str, Callable[[Generator, str], Scene]] = {
    "single_image": single_image,
    "multi_image": multi_image,
    "video": video,
    "scene3d": scene3d,
    "multi_patch": multi_patch,
}
"""Name -> function of a generator and a split. Their order is part of each scene's seed."""
SHARES: Mapping[str, float] = {
    "single_image": 0.8,
    "multi_image": 1.2,
    "video": 0.6,
    "scene3d": 0.8,
    "multi_patch": 1.6,
}
"""Training scenes of each scenario, relative to an even share. The mean is 1; reading digits takes most examples."""
