"""M4-Instruct, the training set of the paper: 41 data sets of 4 domains, from the released files."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from interleave import Dataset, InputError, Note, Records, Sample, datasets, hint, sample_from_llava

from .base.m4_repairs import REPAIRS, one_scene
from .base.m4_sets import DOMAINS, TABLE, TASKS, TEXT, UNKNOWN, Entry, is_refusal, set_of

BY = "To leave a data set out, name the others by only, or the domains by domains"
VERSION = "2" + hashlib.sha256(TEXT.encode()).hexdigest()


def _label(record: dict[str, Any], file: str) -> dict[str, str]:
    return {"set": set_of(record, file), "refusal": "yes" if is_refusal(record) else "no"}


@datasets.register("m4_instruct")
class M4Instruct(Dataset):
    """The released annotation files, as one source for each data set, with their known defects repaired.

    root: the folder of the release. annotations: its annotation files. media: the folder of the image folders; null is
    root. single_image: an annotation file in LLaVA's form for the single-image part, which the release does not hold;
    single_image_media: its folder of images. only: the data sets to use, domains: or the domains; null is all. share,
    caps, weights: of a data set, a task or a domain, a random part of so much of its samples, at most so many of them,
    and how often an epoch reads each. Of single images 0.4 is read unless share says otherwise, as in the paper.
    refusals: whether answers that refuse to answer are kept, where a data set is known for them. views_as: the modality
    of 3D samples, each view an image by itself as published, or all views one scene3d. frames_as: of videos that come
    as lists of frames, each an image as published, or all one video. single, several, video: the modality of single
    images, of several, and of videos. seed: of shares and caps.
    """

    def __init__(  # noqa: PLR0913 (the options that a config sets)
        self,
        root: str,
        annotations: Sequence[str] = ("m4_instruct_annotations.json", "m4_instruct_video.json"),
        media: str | None = None,
        single_image: str | None = None,
        single_image_media: str | None = None,
        only: list[str] | None = None,
        domains: list[str] | None = None,
        share: dict[str, float] | None = None,
        caps: dict[str, int] | None = None,
        weights: dict[str, float] | None = None,
        refusals: Literal["keep", "drop"] = "keep",
        views_as: Literal["image", "scene3d"] = "image",
        frames_as: Literal["image", "video"] = "image",
        single: str = "multipatch",
        several: str = "image",
        video: str = "video",
        seed: int = 0,
    ) -> None:
        _known(only, domains, share, caps, weights)
        _in_bounds(share or {}, caps or {}, weights or {})
        for folder in filter(None, (root, media, single_image_media)):
            if not Path(folder).is_dir():
                raise InputError(f"m4_instruct: {folder} is no folder; name the one that holds the release")
        self.media = {False: media or root, True: single_image_media or media or root}
        self.records = Records([Path(root, name) for name in annotations], _label, VERSION)
        self.single_image = Records([single_image], _label, VERSION) if single_image else None
        self.kinds = {"single": single, "several": several, "video": video}
        self.several = {"multi_view": views_as, "multi_frame": frames_as}
        self.parts = self._parts(only, domains, refusals == "drop")
        for name, part in self.parts.items():
            wanted = _of(share or {}, name, part.entry, part.entry.share)
            part.limit(wanted, _of(caps or {}, name, part.entry, None), seed)
            part.weight = _of(weights or {}, name, part.entry, 1.0)
        if not len(self):
            raise InputError(f"m4_instruct: no records of {', '.join(only or domains or ['any data set'])} in {root}")

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts.values())

    def __getitem__(self, index: int) -> Sample:
        for part in self.parts.values():
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(index)

    def sources(self, name: str) -> Mapping[str, Dataset]:
        return self.parts

    def _parts(self, only: list[str] | None, domains: list[str] | None, refuse: bool) -> dict[str, "Part"]:
        parts: dict[str, Part] = {}
        for records, single in ((self.records, False), (self.single_image, True)):
            if records is None or not len(records):
                continue
            sets = np.full(len(records), "LLaVA-NeXT-SFT") if single else records.column("set")
            kept = records.column("refusal") == "no" if refuse else np.ones(len(records), bool)
            names, numbers = np.unique(sets, return_inverse=True)
            order, ends = np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))
            for name, rows in zip(names.tolist(), np.split(order, ends[:-1]), strict=True):
                entry = TABLE.get(name, Entry(UNKNOWN, UNKNOWN))
                if (only and name not in only) or (domains and entry.domain not in domains):
                    continue
                chosen = rows[kept[rows]] if entry.refusals else rows
                several = self.several.get(entry.domain, self.kinds["several"])
                parts[name] = Part(entry, records, chosen, self.media[single], {**self.kinds, "several": several})
        for name, entry in TABLE.items():
            if name not in parts and (not only or name in only) and (not domains or entry.domain in domains):
                parts[name] = Part(entry, self.records, np.zeros(0, np.int64), "", self.kinds)
        return {name: parts[name] for name in [*TABLE, *parts] if name in parts}


class Part(Dataset):
    """One of the data sets: rows of the annotation files."""

    def __init__(
        self, entry: Entry, records: Records, rows: NDArray[np.int64], media: str, kinds: Mapping[str, str]
    ) -> None:
        self.entry, self.records, self.rows, self.media, self.kinds = entry, records, rows, media, kinds
        self.total, self.group = len(rows), entry.domain
        self.expected = entry.expected or None
        self.single_picture = kinds["single"]

    def limit(self, share: float, cap: int | None, seed: int) -> None:
        """Keep a random part, in the order of the file."""
        count = min(round(share * self.total), self.total if cap is None else cap)
        if self.expected is not None:
            of_table = round(self.expected * share / self.entry.share)
            self.expected = of_table if cap is None else min(of_table, cap)
        if count < self.total:
            drawn = np.random.default_rng([seed, self.total]).permutation(self.total)[: max(1, count)]
            self.rows = self.rows[np.sort(drawn)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        record, notes = self.records[int(self.rows[index])], list[Note]()
        for name in self.entry.repair:
            record, note = REPAIRS[name](record)
            notes += [note] if note else []
        several = isinstance(record.get("image"), list) and len(record["image"]) > 1
        if several and self.kinds["several"] == "scene3d":
            record = one_scene(record)
        if several and self.kinds["several"] == "video":
            record = {**one_scene(record), "image": None, "video": [record["image"]]}
        sample = sample_from_llava(record, self.media, self.kinds)
        return Sample(sample.messages, sample.id, sample.source, tuple(notes))

    def id(self, index: int) -> str:
        record = self.records[int(self.rows[index])]
        return str(record.get("sample_id", record.get("id", index)))


def _of(given: Mapping[str, Any], name: str, entry: Entry, default: Any) -> Any:
    """What is said of a data set goes before what is said of its task, and that before what is said of its domain."""
    return next((given[key] for key in (name, entry.task, entry.domain) if key in given), default)


def _known(only: Any, domains: Any, *settings: Mapping[str, Any] | None) -> None:
    """Raises InputError for a name that the table does not have."""
    if only == [] or domains == []:
        raise InputError("m4_instruct: only=[] and domains=[] choose nothing; null chooses all")
    for what, names, known in [
        ("data set", only or (), TABLE),
        ("domain", domains or (), DOMAINS),
        *(("data set, task or domain", setting or (), [*TABLE, *TASKS, *DOMAINS]) for setting in settings),
    ]:
        for name in names:
            if name not in known:
                raise InputError(f"m4_instruct has no {what} {name!r}{hint(name, known)}")


def _in_bounds(share: Mapping[str, float], caps: Mapping[str, int], weights: Mapping[str, float]) -> None:
    """Raises InputError for a number that leaves nothing, or more than there is."""
    for name, value in share.items():
        if not 0 < value <= 1:
            raise InputError(f"m4_instruct: the share of {name} is {value}; it is above 0 and at most 1. {BY}")
    for name, value in caps.items():
        if value < 1:
            raise InputError(f"m4_instruct: the cap of {name} is {value}; it is at least 1. {BY}")
    for name, value in weights.items():
        if not 0 < value < math.inf:
            raise InputError(f"m4_instruct: the weight of {name} is {value}; it is above 0. {BY}")
