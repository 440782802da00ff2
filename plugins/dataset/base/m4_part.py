"""One data set of M4-Instruct: its records, in part or all of them, as samples."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from interleave import Dataset, Note, Records, Sample, sample_from_llava

from .m4_repairs import REPAIRS, share_placeholder
from .m4_sets import Entry
from .record_fields import Record, id_of


class Part(Dataset):
    """One of the data sets.

    name: as the table or the records call it.
    entry: what the table says of it.
    records: the annotation files that hold it.
    rows: numbers of its records in them, (n,).
    media: the folder that its media paths start from.
    modalities: which modality takes a ``single`` image, ``several`` images and a ``video``.
    """

    def __init__(
        self,
        name: str,
        entry: Entry,
        records: Records,
        rows: NDArray[np.int64],
        media: str,
        modalities: Mapping[str, str],
    ) -> None:
        self.name = name
        self.entry = entry
        self.records = records
        self.rows = rows
        self.media = media
        self.modalities = modalities
        self.total = len(rows)  # before share and cap
        self.group = entry.domain  # what ``interleave data`` counts it under
        self.expected = entry.expected or None
        self.single_picture = modalities["single"]

    def limit(self, share: float, cap: int | None, seed: int) -> None:
        """Keep a random part of the samples, in the order of the file: a share of them, and at most ``cap``."""
        count = min(round(share * self.total), self.total if cap is None else cap)  # samples to keep
        if self.expected is not None:
            # the paper counts what it reads, which is entry.share of the file
            expected = round(self.expected * share / self.entry.share)
            self.expected = expected if cap is None else min(expected, cap)
        if count < self.total:
            drawn = np.random.default_rng([seed, self.total]).permutation(self.total)[: max(1, count)]  # (count,)
            self.rows = self.rows[np.sort(drawn)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        record: Record = self.records[int(self.rows[index])]
        notes: list[Note] = []
        for name in self.entry.repair:
            record, note = REPAIRS[name](record)
            if note:
                notes.append(note)
        images = record.get("image")
        if isinstance(images, list) and len(images) > 1:
            record = self._joined(record)
        sample = sample_from_llava(record, self.media, self.modalities)
        return Sample(sample.messages, sample.id, sample.source, tuple(notes))

    def _joined(self, record: Record) -> Record:
        """Several images as one scene or one video, where that is asked for."""
        if self.modalities["several"] == "scene3d":
            return share_placeholder(record)
        if self.modalities["several"] == "video":
            frames = record["image"]
            return {**share_placeholder(record), "image": None, "video": [frames]}  # a list in the list is one video
        return record

    def id(self, index: int) -> str:
        return id_of(self.records[int(self.rows[index])], index)
