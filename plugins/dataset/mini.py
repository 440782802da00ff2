"""The quickstart's data: small files in real formats (PNG, MP4, LLaVA JSON), drawn when they are first used."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import av
import numpy as np
from filelock import FileLock
from PIL import Image

from interleave import Dataset, InputError, Sample, datasets, hint, read_json, replacing, sample_from_llava

from .base.mini_drawings import FRAMES, ORDINALS, SCENARIOS, SHARES, SPLITS, Picture, Question, Scene
from .base.record_fields import PLACEHOLDER, Record, metadata_of, turns_of

VERSION = 1
"""Part of the folder's name; to be raised whenever the drawings, the questions or the files change."""
MODALITIES: Mapping[str, Mapping[str, str]] = {"scene3d": {"several": "scene3d"}}
"""Scenario -> which modalities take its media, where they are not the usual ones of ``sample_from_llava``."""


class MediaFields(TypedDict, total=False):
    """One of ``image`` and ``video``: paths below the data's folder."""

    image: list[str]
    video: str


class Facts(TypedDict):
    """What the ``metadata`` of a record says."""

    dataset: str
    split: str
    scenario: str
    form: str
    chance: float


@datasets.register("mini")
class Mini(Dataset):
    """Five scenarios of pictures, videos, views and tiles, with exact truth.

    root: the folder below which the files are made on first use.
    scenes: how many scenes a scenario has in training, on average.
    scenarios: names of the scenarios to use; null uses all.
    seed: of the drawings.
    split: which part is read.
    within: questions about several pictures show them within a sentence, instead of one after another in front of it.
    """

    single_picture = "multipatch"  # what sample_from_llava does with a record's only picture

    def __init__(
        self,
        root: str = "data/mini",
        scenes: int = 2000,
        scenarios: list[str] | None = None,
        seed: int = 0,
        split: Literal["train", "validation", "test"] = "train",
        within: bool = False,
    ) -> None:
        self.root = root
        self.scenes = scenes
        self.scenarios = scenarios
        self.seed = seed
        self.within = within
        self.folder = make(Path(root), scenes, seed)
        self.all = records(self.folder, split, scenarios)

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, index: int) -> Sample:
        return to_sample(self.all[index], self.folder, within=self.within)

    def validation(self) -> Dataset | None:
        return Mini(self.root, self.scenes, self.scenarios, self.seed, "validation", self.within)


def records(folder: Path, split: str, scenarios: Sequence[str] | None) -> Sequence[Record]:
    """The records of a split, of the named scenarios or of all. Raises InputError for an unknown scenario."""
    for name in scenarios or ():
        if name not in SCENARIOS:
            raise InputError(f"the mini data has no scenario {name!r}{hint(name, SCENARIOS)}")
    found = read_json(folder / f"{split}.json")
    if not scenarios:
        return found
    return [record for record in found if metadata_of(record)["scenario"] in scenarios]


def to_sample(record: Record, folder: Path, reply: bool = False, within: bool = False) -> Sample:
    """A record as a sample. reply: leave out the last answer, for asking a model. within: as for ``Mini``."""
    scenario = str(metadata_of(record)["scenario"])
    if within:
        first, *others = turns_of(record)
        asked = {**first, "value": in_a_sentence(str(first["value"]))}
        record = {**record, "conversations": [asked, *others]}
    return sample_from_llava(record, folder, MODALITIES.get(scenario, {}), reply)


def in_a_sentence(text: str) -> str:
    """``<image><image>What is new?`` -> ``First <image>, second <image>: What is new?``; one picture stays in front."""
    count = text.count(PLACEHOLDER)
    if count < 2:
        return text
    question = text.lstrip().removeprefix(PLACEHOLDER * count)  # where the placeholders do not lead, they stay
    shown = [f"{ordinal} {PLACEHOLDER}" for ordinal in ORDINALS[:count]]
    return f"{', '.join(shown).capitalize()}: {question}"


def make(root: Path, scenes: int, seed: int) -> Path:
    """Write all splits into a folder below ``root``, unless they are there; safe for several processes at once.

    scenes: in training, for each scenario on average. Returns the folder.
    """
    folder = root / f"v{VERSION}-{scenes}-{seed}"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        if not folder.exists():  # another process may have made it while this one waited
            sizes = {"train": scenes, "validation": max(1, scenes // 20), "test": 200}  # scenes of each scenario
            with replacing(folder) as part:
                for split in SPLITS:
                    _write_split(part, split, sizes[split], seed)
    return folder


def _write_split(folder: Path, split: str, scenes: int, seed: int) -> None:
    """Write the media and ``SPLIT.json``. scenes: for each scenario; in training more or fewer, by ``SHARES``."""
    (folder / "media" / split).mkdir(parents=True, exist_ok=True)
    lines: list[Record] = []
    for number, (scenario, draw) in enumerate(SCENARIOS.items()):
        count = math.ceil(SHARES[scenario] * scenes) if split == "train" else scenes
        for i in range(count):
            rng = np.random.default_rng([seed, SPLITS.index(split), number, i])  # each scene has a seed of its own
            scene = draw(rng, split)
            rng.shuffle(scene.questions)  # no question is always the first of a conversation
            name = f"media/{split}/{scenario}-{i:05d}"
            lines += _records_of(scene, folder, name, scenario, split)
    (folder / f"{split}.json").write_text(json.dumps(lines, indent=1))


def _records_of(scene: Scene, folder: Path, name: str, scenario: str, split: str) -> list[Record]:
    """Write a scene's media and return its records.

    Training asks all questions of a scene in one conversation; the other splits ask each question alone.
    name: path of the media files below ``folder``, without number and suffix.
    """
    media = _write_media(scene, folder, name)
    # the frames of a video, the views of a scene and a picture of tiles are one piece of media each
    shown = PLACEHOLDER * (len(scene.pictures) if scenario == "multi_image" else 1)
    conversations = [scene.questions] if split == "train" else [[question] for question in scene.questions]
    found: list[Record] = []
    for number, questions in enumerate(conversations):
        last = questions[-1]
        facts = Facts(dataset="mini", split=split, scenario=scenario, form=last.form, chance=last.chance)
        turns = _turns(questions, shown)
        found.append({"id": f"{Path(name).name}-{number}", **media, "conversations": turns, "metadata": facts})
    return found


def _turns(questions: Sequence[Question], shown: str) -> list[dict[str, str]]:
    """Questions and answers in turn. shown: the placeholders, which stand in front of the first question."""
    turns = []
    for i, question in enumerate(questions):
        text = shown + question.text if i == 0 else question.text
        turns.append({"from": "human", "value": text})
        turns.append({"from": "gpt", "value": question.answer})
    return turns


def _write_media(scene: Scene, folder: Path, name: str) -> MediaFields:
    """Write one MP4 file or PNG files; returns the record's field that names them."""
    if scene.video:
        _write_video(folder / f"{name}.mp4", scene.pictures)
        return {"video": f"{name}.mp4"}
    paths = [f"{name}-{k}.png" for k in range(len(scene.pictures))]
    for path, picture in zip(paths, scene.pictures, strict=True):
        Image.fromarray(picture).save(folder / path, compress_level=1)  # noise does not compress anyway
    return {"image": paths}


def _write_video(path: Path, frames: list[Picture]) -> None:
    """Write H.264 without chroma subsampling, which would blur the colours of squares of six pixels."""
    with av.open(str(path), "w") as container:
        options = {"crf": "12", "preset": "ultrafast", "threads": "1"}  # one thread: the same bytes each time
        stream = container.add_stream("libx264", rate=FRAMES, options=options)  # a video lasts one second
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())  # what the encoder still holds
