"""What poses are good for: where a box stands as seen by a camera that looks elsewhere, with and without them.

python benchmarks/poses.py [--steps 300] [--seeds 0 1]
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from interleave_plugins.scenes.cameras import focal_length, pinhole
from interleave_plugins.scenes.pose_encoding import Poses
from interleave_plugins.scenes.synthetic.render import ANGLE, COLOURS, Thing, draw, look_at, ring
from interleave_plugins.scenes.view import Camera, View

from interleave import Media, Message, Sample, load_plugins
from interleave.core.types import Example
from interleave.inference.generate import generate
from interleave.model.assembly import Assembly, assemble
from interleave.processing.collate import collate, one_per_row
from interleave.processing.render import render
from interleave.training.optimizer import PARTS, Stage, optimizer, schedule

KINDS: tuple[Poses, ...] = ("none", "rays", "pointmap")
PIXELS, FLOOR = (32, 32), 2.5
"""Width and height of pictures in pixels, and half the side of the floor in metres."""
TRAIN, TEST, ROWS = 4000, 400, 24
"""Scenes to train on, scenes to test on, scenes a batch."""
RATE = 1.5e-3
LETTERS: Mapping[str, str] = {"side": "lr", "front": "ab", "metres": "123456"}
"""The answer's three letters: left or right of the first camera, ahead of it or behind, how far in whole metres."""


class Question(NamedTuple):
    """views: three views of a scene. answer: one letter for each of LETTERS."""

    views: list[View]
    answer: str


def make_question(seed: int) -> Question:
    """A random scene with one box, and where the box stands in the axes of the first camera.

    The first camera stands anywhere and looks anywhere but at the box; the two others are of a ring and see it. Nothing
    in the pictures tells how the three stand to each other.
    """
    rng = np.random.default_rng(seed)
    middle = rng.uniform(-1.5, 1.5, 2)
    colour = str(rng.choice(list(COLOURS)))
    box = Thing(f"{colour} box", COLOURS[colour], np.array([*middle - 0.45, 0]), np.array([*middle + 0.45, 0.9]))
    focal = focal_length(ANGLE, PIXELS[0])
    intrinsics = pinhole(focal, focal, PIXELS[0] / 2, PIXELS[1] / 2)
    while True:
        position = np.array([*rng.uniform(-3, 3, 2), rng.uniform(0.8, 2.6)])
        angle = rng.uniform(0, 2 * np.pi)
        pose = look_at(position, position + np.array([np.cos(angle), np.sin(angle), 0]))
        first = Camera(pose, intrinsics, *PIXELS)
        right, _, ahead = pose[:3, :3].T @ (box.centre - position)  # the box in the first camera's axes, metres
        distance = np.hypot(right, ahead)
        view, shown = draw([box], first, FLOOR)
        if 0.5 <= distance < 6.5 and (shown != 0).all():  # no pixel shows the box, number 0
            break
    others = rng.permutation(np.array(ring(rng, 6, PIXELS, 4.0), object))[:2]
    views = [view]
    for camera in others:
        views.append(draw([box], camera, FLOOR)[0])
    side = "r" if right > 0 else "l"
    front = "a" if ahead > 0 else "b"
    return Question(views, side + front + str(round(distance)))


def examples(assembly: Assembly, questions: Sequence[Question], reply: bool) -> list[Example]:
    """Questions as examples; ``reply``: without their answers, for the model to give them."""
    made = []
    for views, answer in questions:
        turns = [Message("user", [Media("scene3d", views), "where?"]), Message("assistant", [answer])]
        sample = Sample(turns[:1] if reply else turns)
        made.append(render(sample, assembly.adapters, assembly.model.llm.tokenizer, reply))
    return made


def batches(items: Sequence[Example], steps: int, seed: int) -> Iterator[list[Example]]:
    """``steps`` random choices of ROWS examples."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        yield [items[i] for i in rng.choice(len(items), ROWS, replace=False)]


def train(kind: Poses, seed: int, steps: int, questions: Sequence[Question]) -> Assembly:
    """The smallest model, trained from nothing on the questions."""
    torch.manual_seed(seed)
    assembly = assemble({
        "vision_encoder": {"name": "tiny"},
        "projector": {"name": "mlp", "std": 0.1},
        "llm": {"name": "tiny"},
        "modality": {"scene3d": {"name": "scene3d", "poses": kind}},
    })  # fmt: skip
    stage = Stage(dict.fromkeys(PARTS, RATE), weight_decay=0.05, betas=(0.9, 0.98), warmup=0.05)
    adamw = optimizer(assembly.model, stage)
    rates = schedule(adamw, stage, steps)
    for chosen in batches(examples(assembly, questions, reply=False), steps, seed):
        length = sum(len(e.input_ids) for e in chosen)
        batch = collate([chosen], length, assembly.vision)  # one row that they just fill
        loss, count = assembly.model.loss(batch)
        torch.autograd.backward(loss / count)
        torch.nn.utils.clip_grad_norm_(assembly.model.parameters(), 1.0)
        adamw.step()
        rates.step()
        adamw.zero_grad()
    return assembly


def score(assembly: Assembly, questions: Sequence[Question]) -> list[float]:
    """Share of right answers: to the side, to the front, to the metres, to all of them."""
    asked = examples(assembly, questions, reply=True)
    replies: list[str] = []
    for start in range(0, len(asked), 100):
        rows = one_per_row(asked[start : start + 100], assembly.vision)
        replies += generate(assembly.model, rows, max_new_tokens=4)
    answers = [question.answer for question in questions]
    padded = [reply.ljust(3) for reply in replies]  # a reply may be too short
    pairs = list(zip(padded, answers, strict=True))
    shares = []
    for i in range(len(LETTERS)):
        shares.append(float(np.mean([reply[i] == answer[i] for reply, answer in pairs])))
    shares.append(float(np.mean([reply.strip() == answer for reply, answer in pairs])))
    return shares


def score_of_most_frequent(questions: Sequence[Question]) -> list[float]:
    """The scores of always giving the most frequent answer, as ``score`` has them."""
    answers = [question.answer for question in questions]
    shares = []
    for i, letters in enumerate(LETTERS.values()):
        shares.append(max(np.mean([answer[i] == letter for answer in answers]) for letter in letters))
    shares.append(max(np.mean([answer == one for answer in answers]) for one in set(answers)))
    return [float(share) for share in shares]


def percents(shares: Sequence[float]) -> str:
    """Cells of a table."""
    return " | ".join(f"{100 * share:.1f}" for share in shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    load_plugins()
    known = [make_question(i) for i in range(TRAIN)]
    held = [make_question(TRAIN + i) for i in range(TEST)]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.steps} steps of {ROWS} scenes")
    print("| poses | seed | left or right | ahead or behind | metres | all three | seconds |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for kind in KINDS:
        for seed in arguments.seeds:
            started = time.perf_counter()
            found = score(train(kind, seed, arguments.steps, known), held)
            seconds = time.perf_counter() - started
            print(f"| {kind} | {seed} | {percents(found)} | {seconds:.0f} |", flush=True)
    print(f"| the most frequent answer | | {percents(score_of_most_frequent(held))} | |")


if __name__ == "__main__":
    main()
