"""A stand-in for M4-Instruct: all 41 data sets in the released schema, with its defects, and small pictures.

python tests/support/m4_stand_in.py FOLDER --samples 1000 [--annotations-only]
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from interleave_plugins.dataset.base.m4_sets import TABLE, Entry
from PIL import Image

FRAMES = 8
IMAGES = {"multi_patch": 1, "multi_frame": FRAMES}
PICTURES = 5
"""Of each data set; records share them."""


def write(root: Path, samples: int, pictures: bool = True) -> dict[str, int]:
    """About ``samples`` records in the table's proportions, below ``root``. Returns how many of each data set."""
    total = sum(entry.expected for entry in TABLE.values())
    counts = {name: max(1, round(samples * entry.expected / total)) for name, entry in TABLE.items()}
    files: dict[str, list[Iterator[dict[str, Any]]]] = {}
    for number, (name, entry) in enumerate(TABLE.items()):
        made = round(counts[name] / entry.share)
        files.setdefault(entry.files[0], []).append(records(name, entry, made, number))
        if pictures:
            write_pictures(root / folder(name), entry, number)
    root.mkdir(parents=True, exist_ok=True)
    for file, parts in files.items():
        with (root / file).open("w", encoding="utf-8") as out:
            out.write("[")
            for i, record in enumerate(record for part in parts for record in part):
                out.write((",\n" if i else "\n") + json.dumps(record))
            out.write("\n]\n")
    return counts


def folder(name: str) -> str:
    return TABLE[name].folders[0] if TABLE[name].folders else name.replace(" ", "_")


def records(name: str, entry: Entry, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Records of one data set. Twitter posts have their roles swapped and one placeholder for all images."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        if entry.files[0].endswith("video.json"):
            yield video_record(name, i)
            continue
        images = IMAGES.get(entry.domain) or int(rng.integers(2, 5))
        paths = [f"{folder(name)}/{int(rng.integers(PICTURES))}.png" for _ in range(images)]
        broken = "placeholders" in entry.repair
        asked = "<image>" * (1 if broken else images) + f"\nWhat is asked of {name} number {i}?"
        answer = "I'm sorry, I can't assist with that." if entry.refusals and i % 3 == 0 else f"answer {i}"
        roles = ("gpt", "human") if "roles" in entry.repair else ("human", "gpt")
        yield {
            "sample_id": i,
            "conversations": [{"from": roles[0], "value": asked}, {"from": roles[1], "value": answer}],
            "image": paths,
            "choice_list": None,
            "metadata": {"dataset": name, "split": "train", "num_sample": count, "task_instruction": "",
                         "question_type": "open-ended"},
        }  # fmt: skip


def video_record(name: str, number: int) -> dict[str, Any]:
    caption = name.endswith("Caption")
    asked = "Please provide a detailed description of the video." if caption else "What happens?"
    return {
        "id": f"{name}-{number}",
        "video": f"{folder(name)}/clip",
        "conversations": [{"from": "human", "value": f"<image>\n{asked}"}, {"from": "gpt", "value": f"it {number}"}],
    }


def write_pictures(target: Path, entry: Entry, seed: int) -> None:
    if entry.files[0].endswith("video.json"):
        target = target / "clip"
    target.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(PICTURES):
        Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(target / f"{i}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--annotations-only", action="store_true")
    asked = parser.parse_args()
    print(sum(write(asked.folder, asked.samples, not asked.annotations_only).values()), "records")
