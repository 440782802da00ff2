"""A stand-in for M4-Instruct: all 41 data sets in the released schema, with its defects, and small pictures.

python tests/support/m4_stand_in.py FOLDER --samples 1000 [--annotations-only]
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from interleave_plugins.dataset.base.m4_sets import TABLE, Entry
from PIL import Image

Record = dict[str, object]

FRAMES = 8
"""Pictures of a record of a video that was released as frames."""
IMAGES = {"multi_patch": 1, "multi_frame": FRAMES}
"""Pictures of a record, by domain; in other domains two to four."""
PICTURES = 5
"""Picture files of each data set; its records share them."""


def write(root: Path, samples: int, pictures: bool = True) -> dict[str, int]:
    """Write about ``samples`` records in the table's proportions. Returns how many of each data set are trained on.

    root: the folder of annotation files and of pictures' folders.
    pictures: whether to write them; annotation files alone are much faster.
    """
    total = sum(entry.expected for entry in TABLE.values())
    counts = {name: max(1, round(samples * entry.expected / total)) for name, entry in TABLE.items()}
    files: dict[str, list[Iterator[Record]]] = {}  # data sets that share an annotation file
    for number, (name, entry) in enumerate(TABLE.items()):
        made = round(counts[name] / entry.share)  # the paper trains on a share of the file's samples
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
    """The folder of a data set's images, below the root."""
    return TABLE[name].folders[0] if TABLE[name].folders else name.replace(" ", "_")


def records(name: str, entry: Entry, count: int, seed: int) -> Iterator[Record]:
    """Records of one data set, with the defects that the table says it has.

    These are swapped roles, one placeholder for all images, and answers that refuse to answer.
    """
    rng = np.random.default_rng(seed)
    for i in range(count):
        if entry.files[0].endswith("video.json"):
            yield video_record(name, i)
            continue
        images = IMAGES.get(entry.domain) or int(rng.integers(2, 5))
        paths = [f"{folder(name)}/{int(rng.integers(PICTURES))}.png" for _ in range(images)]
        placeholders = 1 if "placeholders" in entry.repair else images
        question = "<image>" * placeholders + f"\nWhat is asked of {name} number {i}?"
        answer = "I'm sorry, I can't assist with that." if entry.refusals and i % 3 == 0 else f"answer {i}"
        roles = ("gpt", "human") if "roles" in entry.repair else ("human", "gpt")
        yield {
            "sample_id": i,
            "conversations": [{"from": roles[0], "value": question}, {"from": roles[1], "value": answer}],
            "image": paths,
            "choice_list": None,
            "metadata": {"dataset": name, "split": "train", "num_sample": count, "task_instruction": "",
                         "question_type": "open-ended"},
        }  # fmt: skip


def video_record(name: str, number: int) -> Record:
    """A record of a video, in the other schema that the release has for these."""
    caption = name.endswith("Caption")
    asked = "Please provide a detailed description of the video." if caption else "What happens?"
    return {
        "id": f"{name}-{number}",
        "video": f"{folder(name)}/clip",
        "conversations": [{"from": "human", "value": f"<image>\n{asked}"}, {"from": "gpt", "value": f"it {number}"}],
    }


def write_pictures(target: Path, entry: Entry, seed: int) -> None:
    """Write a data set's pictures of noise; those of a video are its frames, in a folder ``clip``."""
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
    arguments = parser.parse_args()
    counts = write(arguments.folder, arguments.samples, not arguments.annotations_only)
    print(sum(counts.values()), "records")
