"""M4-Instruct, the training set of the paper: 41 data sets of 4 domains, from the released files."""

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from interleave import Dataset, InputError, Records, Sample, datasets, hint

from .base.m4_part import Part
from .base.m4_sets import DOMAINS, TABLE, TASKS, TEXT, UNKNOWN, Entry, is_refusal, set_of
from .base.record_fields import Record

T = TypeVar("T")
ADVICE = "To leave a data set out, name the others by only, or the domains by domains"
VERSION = "2" + hashlib.sha256(TEXT.encode()).hexdigest()
"""Names what ``_columns`` does: an index of an annotation file that was made with another version is made anew."""
SINGLE_IMAGE = "LLaVA-NeXT-SFT"
"""The table's name of the single-image part."""


def _columns(record: Record, file: str) -> dict[str, str]:
    """What is kept beside a record in the index, so that parts are found without reading every record."""
    return {"set": set_of(record, file), "refusal": "yes" if is_refusal(record) else "no"}


class Selection(NamedTuple):
    """Which data sets are used. only: their names. domains: their domains. None is all."""

    only: Sequence[str] | None
    domains: Sequence[str] | None

    def has(self, name: str, entry: Entry) -> bool:
        return (not self.only or name in self.only) and (not self.domains or entry.domain in self.domains)


class AnnotationSource(NamedTuple):
    """Annotation files with the folder that their media paths start from.

    single: whether the files hold the single-image part.
    """

    records: Records
    media: str
    single: bool

    def sets(self) -> NDArray[np.str_]:
        """The name of each record's data set, (n,)."""
        return np.full(len(self.records), SINGLE_IMAGE) if self.single else self.records.column("set")


@datasets.register("m4_instruct")
class M4Instruct(Dataset):
    """The released annotation files, as one source for each data set, with their known defects repaired.

    root: the folder of the release.
    annotations: its annotation files.
    media: the folder of the image folders; null is root.
    single_image: an annotation file in LLaVA's form for the single-image part, which the release does not hold.
    single_image_media: the folder of its images; null is that of the others.
    only: names of the data sets to use; null uses all.
    domains: the domains to use; null uses all.
    share: data set, task or domain -> the part of its samples to read, drawn at random. Without an entry all are read,
        and 0.4 of the single images, as in the paper.
    caps: data set, task or domain -> how many samples of each of its data sets are read at most, drawn at random.
    weights: data set, task or domain -> how often an epoch reads each sample.
    refusals: whether answers that refuse to answer are kept, in the data sets that are known for them.
    views_as: the modality of 3D samples: each view an image by itself, as published, or all views one scene3d.
    frames_as: videos that come as lists of frames: each frame an image, as published, or all frames one video.
    single: the modality that takes the image of a record with one.
    several: the modality that takes each image of a record with several.
    video: the modality that takes a video.
    seed: of the random choice for share and caps.

    In share, caps and weights an entry for a data set goes before one for its task, and that before one for its domain.
    """

    def __init__(  # noqa: PLR0913 -- a config's options
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
        share, caps, weights = share or {}, caps or {}, weights or {}
        _check_names(only, domains, share, caps, weights)
        _check_numbers(share, caps, weights)
        for folder in (root, media, single_image_media):
            if folder and not Path(folder).is_dir():
                raise InputError(f"m4_instruct: {folder} is no folder; name the one that holds the release")
        self.modalities = {"single": single, "several": several, "video": video}
        self.several_in_domain: Mapping[str, str] = {"multi_view": views_as, "multi_frame": frames_as}
        released = Records([Path(root, name) for name in annotations], _columns, VERSION)
        self.files = [AnnotationSource(released, media or root, single=False)]
        if single_image:
            records = Records([single_image], _columns, VERSION)
            self.files.append(AnnotationSource(records, single_image_media or media or root, single=True))
        self.parts = self._parts(Selection(only, domains), refusals == "drop")
        for name, part in self.parts.items():
            wanted = _setting_of(share, name, part.entry, part.entry.share)
            part.limit(wanted, _setting_of(caps, name, part.entry, None), seed)
            part.weight = _setting_of(weights, name, part.entry, 1.0)
        if not len(self):
            raise InputError(f"m4_instruct: no records of {', '.join(only or domains or ['any data set'])} in {root}")

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts.values())

    def __getitem__(self, index: int) -> Sample:
        for part in self.parts.values():
            if index < len(part):
                return part[index]
            index -= len(part)  # the number within the parts that follow
        raise IndexError(index)

    def sources(self, name: str) -> Mapping[str, Dataset]:
        return self.parts

    def _parts(self, selection: Selection, drop_refusals: bool) -> dict[str, Part]:
        """The selected data sets by name: those of the table in its order, an empty one where the files lack it."""
        found: dict[str, Part] = {}
        for source in self.files:
            if len(source.records):
                for part in self._parts_of(source, selection, drop_refusals):
                    found[part.name] = part
        released = self.files[0].records
        for name, entry in TABLE.items():
            if name not in found and selection.has(name, entry):
                # empty, so that reports show that it is absent
                found[name] = Part(name, entry, released, np.zeros(0, np.int64), "", self.modalities)
        order = [*TABLE, *found]
        return {name: found[name] for name in order if name in found}

    def _parts_of(self, source: AnnotationSource, selection: Selection, drop_refusals: bool) -> Iterator[Part]:
        """The selected data sets that some annotation files hold, by name."""
        count = len(source.records)
        kept = source.records.column("refusal") == "no" if drop_refusals else np.ones(count, bool)  # (n,)
        names, numbers = np.unique(source.sets(), return_inverse=True)  # (sets,), (n,): each record's data set
        order = np.argsort(numbers, kind="stable")  # (n,): records of a data set together, in the order of the file
        ends = np.cumsum(np.bincount(numbers))  # (sets,): where each data set ends in that order
        for name, rows in zip(names.tolist(), np.split(order, ends[:-1]), strict=True):
            entry = TABLE.get(name, Entry(UNKNOWN, UNKNOWN))
            if selection.has(name, entry):
                chosen = rows[kept[rows]] if entry.refusals else rows  # only where refusals are known to be a defect
                several = self.several_in_domain.get(entry.domain, self.modalities["several"])
                modalities = {**self.modalities, "several": several}
                yield Part(name, entry, source.records, chosen, source.media, modalities)


def _setting_of(settings: Mapping[str, T], name: str, entry: Entry, default: T) -> T:
    """A setting for a data set goes before one for its task, and that before one for its domain."""
    for key in (name, entry.task, entry.domain):
        if key in settings:
            return settings[key]
    return default


def _check_names(
    only: Sequence[str] | None, domains: Sequence[str] | None, *settings: Mapping[str, float] | Mapping[str, int]
) -> None:
    """Raises InputError for a name that the table does not have."""
    if only == [] or domains == []:
        raise InputError("m4_instruct: only=[] and domains=[] choose nothing; null chooses all")
    _check_known("data set", only or (), TABLE)
    _check_known("domain", domains or (), DOMAINS)
    for setting in settings:
        _check_known("data set, task or domain", setting, [*TABLE, *TASKS, *DOMAINS])


def _check_known(what: str, names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"m4_instruct has no {what} {name!r}{hint(name, known)}")


def _check_numbers(share: Mapping[str, float], caps: Mapping[str, int], weights: Mapping[str, float]) -> None:
    """Raises InputError for a number that leaves nothing, or more than there is."""
    for name, value in share.items():
        if not 0 < value <= 1:
            raise InputError(f"m4_instruct: the share of {name} is {value}; it is above 0 and at most 1. {ADVICE}")
    for name, value in caps.items():
        if value < 1:
            raise InputError(f"m4_instruct: the cap of {name} is {value}; it is at least 1. {ADVICE}")
    for name, value in weights.items():
        if not 0 < value < math.inf:
            raise InputError(f"m4_instruct: the weight of {name} is {value}; it is above 0. {ADVICE}")
