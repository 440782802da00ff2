"""What poses are good for: where a box stands as seen by a camera that looks elsewhere, with and without them.

python benchmarks/poses.py [--steps 300] [--seeds 0 1]
"""

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from interleave_plugins.scenes.cameras import focal_of, pinhole
from interleave_plugins.scenes.synthetic.render import ANGLE, COLOURS, Thing, draw, look_at, ring
from interleave_plugins.scenes.view import Camera, View

from interleave import Media, Message, Sample, load_plugins
from interleave.core.types import Example
from interleave.inference.generate import generate
from interleave.model.assembly import Assembly, assemble
from interleave.processing.collate import collate, one_per_row
from interleave.processing.render import render
from interleave.training.optimizer import PARTS, Stage, optimizer, schedule

KINDS = ("none", "rays", "pointmap")
PIXELS, FLOOR = (32, 32), 2.5
TRAIN, TEST, ROWS = 4000, 400, 24
RATE = 1.5e-3
LETTERS = {"side": "lr", "front": "ab", "metres": "123456"}
"""What is answered: to the left or right of the first camera, ahead or behind it, and how far in whole metres."""


def scene(seed: int) -> tuple[list[View], str]:
    """Three views and the answer. The first camera stands anywhere and looks anywhere but at the box; the two others
    are of a ring and see it. Nothing in the pictures tells how the three stand to each other."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(-1.5, 1.5, 2)
    colour = str(rng.choice(list(COLOURS)))
    box = Thing(f"{colour} box", COLOURS[colour], np.array([*middle - 0.45, 0]), np.array([*middle + 0.45, 0.9]))
    focal = focal_of(ANGLE, PIXELS[0])
    while True:
        place, angle = np.array([*rng.uniform(-3, 3, 2), rng.uniform(0.8, 2.6)]), rng.uniform(0, 2 * np.pi)
        ahead = np.array([np.cos(angle), np.sin(angle), 0])
        pose = look_at(place, place + ahead)
        first = Camera(pose, pinhole(focal, focal, PIXELS[0] / 2, PIXELS[1] / 2), *PIXELS)
        right, _, front = pose[:3, :3].T @ (box.centre - place)
        far = np.hypot(right, front)
        view, shown = draw([box], first, FLOOR)
        if 0.5 <= far < 6.5 and (shown != 0).all():
            break
    others = rng.permutation(np.array(ring(rng, 6, PIXELS, 4.0), object))[:2]
    views = [view, *(draw([box], camera, FLOOR)[0] for camera in others)]
    return views, "lr"[int(right > 0)] + "ba"[int(front > 0)] + str(round(far))


def examples(assembly: Assembly, scenes: Sequence[tuple[list[View], str]], reply: bool) -> list[Example]:
    chat, made = assembly.model.llm.tokenizer, []
    for views, answer in scenes:
        turns = [Message("user", [Media("scene3d", views), "where?"]), Message("assistant", [answer])]
        made.append(render(Sample(turns[:1] if reply else turns), assembly.adapters, chat, reply))
    return made


def batches(items: Sequence[Example], steps: int, seed: int) -> Iterator[list[Example]]:
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        yield [items[i] for i in rng.choice(len(items), ROWS, replace=False)]


def train(kind: str, seed: int, steps: int, scenes: Sequence[tuple[list[View], str]]) -> Assembly:
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
    for chosen in batches(examples(assembly, scenes, reply=False), steps, seed):
        batch = collate([chosen], sum(len(e.input_ids) for e in chosen), assembly.vision)
        loss, count = assembly.model.loss(batch)
        torch.autograd.backward(loss / count)
        torch.nn.utils.clip_grad_norm_(assembly.model.parameters(), 1.0)
        adamw.step()
        rates.step()
        adamw.zero_grad()
    return assembly


def score(assembly: Assembly, scenes: Sequence[tuple[list[View], str]]) -> list[float]:
    """Share of right answers: to the side, to the front, to the metres, to all of them."""
    asked, replies = examples(assembly, scenes, reply=True), []
    for start in range(0, len(asked), 100):
        rows = one_per_row(asked[start : start + 100], assembly.vision)
        replies += generate(assembly.model, rows, max_new_tokens=4)
    pairs = [(reply.ljust(3), answer) for reply, (_, answer) in zip(replies, scenes, strict=True)]
    parts = [float(np.mean([reply[i] == answer[i] for reply, answer in pairs])) for i in range(3)]
    return [*parts, float(np.mean([reply.strip() == answer for reply, answer in pairs]))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    asked = parser.parse_args()
    load_plugins()
    known, held = [scene(i) for i in range(TRAIN)], [scene(TRAIN + i) for i in range(TEST)]
    answers = [answer for _, answer in held]
    often = [
        max(np.mean([a[i] == letter for a in answers]) for letter in LETTERS[part]) for i, part in enumerate(LETTERS)
    ]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {asked.steps} steps of {ROWS} scenes")
    print("| poses | seed | left or right | ahead or behind | metres | all three | seconds |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for kind in KINDS:
        for seed in asked.seeds:
            started = time.perf_counter()
            found = score(train(kind, seed, asked.steps, known), held)
            seconds = time.perf_counter() - started
            print(
                f"| {kind} | {seed} | " + " | ".join(f"{100 * s:.1f}" for s in found) + f" | {seconds:.0f} |",
                flush=True,
            )
    all_three = max(np.mean([a == answer for a in answers]) for answer in set(answers))
    print("| the most frequent answer | | " + " | ".join(f"{100 * s:.1f}" for s in [*often, all_three]) + " | |")


if __name__ == "__main__":
    main()
