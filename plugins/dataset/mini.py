"""The quickstart's data: small, real in form (PNG, MP4, LLaVA JSON) and made on the spot."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from filelock import FileLock
from PIL import Image

from interleave import Dataset, InputError, Sample, datasets, hint, read_json, sample_from_llava

from .base.mini_drawings import FRAMES, ORDINALS, SCENARIOS, SHARES, SPLITS, Picture, Scene

VERSION = 1
PLACEHOLDER = "<image>"
KINDS = {"scene3d": {"several": "scene3d"}}


@datasets.register("mini")
class Mini(Dataset):
    """Five scenarios of pictures, videos, views and tiles, with exact truth.

    root: where the files are made on first use. scenes: of a scenario in training, on average. scenarios: which of
    them, all where there is no list. seed: of the drawings. split: which part is read. within: questions about several
    pictures show them within a sentence, instead of one after another in front of it.
    """

    single_picture = "multipatch"

    def __init__(
        self,
        root: str = "data/mini",
        scenes: int = 2000,
        scenarios: list[str] | None = None,
        seed: int = 0,
        split: Literal["train", "validation", "test"] = "train",
        within: bool = False,
    ) -> None:
        self.options = {"root": root, "scenes": scenes, "scenarios": scenarios, "seed": seed, "within": within}
        self.folder, self.within = make(Path(root), scenes, seed), within
        self.all = records(self.folder, split, scenarios)

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, index: int) -> Sample:
        return to_sample(self.all[index], self.folder, within=self.within)

    def validation(self) -> Dataset | None:
        return Mini(**self.options, split="validation")  # type: ignore[arg-type]


def records(folder: Path, split: str, scenarios: Sequence[str] | None) -> list[dict[str, Any]]:
    """Those of some scenarios, or of all. Raises InputError for a scenario that there is not."""
    for name in scenarios or ():
        if name not in SCENARIOS:
            raise InputError(f"the mini data has no scenario {name!r}{hint(name, SCENARIOS)}")
    found = read_json(folder / f"{split}.json")
    return [r for r in found if not scenarios or r["metadata"]["scenario"] in scenarios]


def to_sample(record: dict[str, Any], folder: Path, reply: bool = False, within: bool = False) -> Sample:
    kinds = KINDS.get(record["metadata"]["scenario"], {})
    if within:
        first, *others = record["conversations"]
        record = {**record, "conversations": [{**first, "value": in_a_sentence(first["value"])}, *others]}
    return sample_from_llava(record, folder, kinds, reply)


def in_a_sentence(text: str) -> str:
    """``<image><image>What is new?`` -> ``First <image>, second <image>: What is new?``; one picture stays in front."""
    question = text.lstrip().removeprefix(PLACEHOLDER * text.count(PLACEHOLDER))
    shown = [f"{ordinal} {PLACEHOLDER}" for ordinal, _ in zip(ORDINALS, range(text.count(PLACEHOLDER)), strict=False)]
    return text if len(shown) < 2 else f"{', '.join(shown).capitalize()}: {question}"


def make(root: Path, scenes: int, seed: int) -> Path:
    """Write all splits below ``root`` unless they are there; safe for several processes at once."""
    folder = root / f"v{VERSION}-{scenes}-{seed}"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        if not folder.exists():
            beside = folder.with_suffix(".part")
            sizes = {"train": scenes, "validation": max(1, scenes // 20), "test": 200}
            for split in SPLITS:
                _write_split(beside, split, sizes[split], seed)
            beside.rename(folder)
    return folder


def _write_split(folder: Path, split: str, scenes: int, seed: int) -> None:
    (folder / "media" / split).mkdir(parents=True, exist_ok=True)
    records = []
    for number, (scenario, draw) in enumerate(SCENARIOS.items()):
        for i in range(math.ceil(SHARES[scenario] * scenes) if split == "train" else scenes):
            rng = np.random.default_rng([seed, SPLITS.index(split), number, i])
            name = f"media/{split}/{scenario}-{i:05d}"
            scene = draw(rng, split)
            rng.shuffle(scene.questions)
            records += _records(scene, folder, name, scenario, split)
    (folder / f"{split}.json").write_text(json.dumps(records, indent=1))


def _records(scene: Scene, folder: Path, name: str, scenario: str, split: str) -> list[dict[str, Any]]:
    """Training asks all questions of a scene in one conversation, in any order; the other splits ask each alone."""
    media = _write_media(scene, folder, name)
    shown = "<image>" * (len(scene.pictures) if scenario == "multi_image" else 1)
    asked = [scene.questions] if split == "train" else [[q] for q in scene.questions]
    records = []
    for number, questions in enumerate(asked):
        turns = []
        for i, question in enumerate(questions):
            turns.append({"from": "human", "value": (shown if i == 0 else "") + question.text})
            turns.append({"from": "gpt", "value": question.answer})
        last = questions[-1]
        records.append(
            {
                "id": f"{Path(name).name}-{number}",
                **media,
                "conversations": turns,
                "metadata": {
                    "dataset": "mini",
                    "split": split,
                    "scenario": scenario,
                    "form": last.form,
                    "chance": last.chance,
                },
            }
        )
    return records


def _write_media(scene: Scene, folder: Path, name: str) -> dict[str, Any]:
    if scene.video:
        _write_video(folder / f"{name}.mp4", scene.pictures)
        return {"video": f"{name}.mp4"}
    paths = [f"{name}-{k}.png" for k in range(len(scene.pictures))]
    for path, picture in zip(paths, scene.pictures, strict=True):
        Image.fromarray(picture).save(folder / path, compress_level=1)
    return {"image": paths}


def _write_video(path: Path, frames: list[Picture]) -> None:
    """H.264 without chroma subsampling, which would wash out squares of six pixels."""
    with av.open(str(path), "w") as container:
        options = {"crf": "12", "preset": "ultrafast", "threads": "1"}
        stream = container.add_stream("libx264", rate=FRAMES, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
