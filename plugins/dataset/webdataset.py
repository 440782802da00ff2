"""Tar archives in the form of WebDataset, read by number, so that a run can be mixed and resumed exactly."""

import json
import tarfile
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from interleave import BadSample, Dataset, InputError, Sample, datasets

from .base.object_stores import Store, failures
from .base.table_rows import to_sample

IMAGES = frozenset({"jpg", "jpeg", "png", "webp"})
VIDEOS = frozenset({"mp4", "webm", "mkv", "avi", "mov"})
Member = tuple[str, int, int]
"""Extension, first byte and length."""


@datasets.register("webdataset")
class WebDataset(Dataset):
    """Members that share a name up to its first dot are a sample: ``.json`` (a LLaVA record) or ``.txt`` (a caption),
    pictures in the order of their names, videos.

    path: a pattern of archives, local or in a store, such as shards/*.tar or s3://bucket/*.tar, or a folder of them.
    They are read through once, to know what lies where. storage: options of the store, such as {endpoint_url:
    https://...}. single, several, video: as for llava_json.
    """

    def __init__(
        self,
        path: str,
        storage: dict[str, Any] | None = None,
        single: str = "multipatch",
        several: str = "image",
        video: str = "video",
    ) -> None:
        self.kinds = {"single": single, "several": several, "video": video}
        self.single_picture = single
        self.store = Store(path, storage)
        self.archives = self.store.names(".tar")
        self.samples: list[tuple[int, str, list[Member]]] = []
        self.counts: list[int] = []
        for number, archive in enumerate(self.archives):
            found = self._index(archive)
            self.samples += [(number, key, members) for key, members in found.items()]
            self.counts.append(len(found))
        if not self.samples:
            raise InputError(f"{path} holds no samples: its archives are empty")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        number, key, members = self.samples[index]
        row: dict[str, Any] = {"id": key}
        images, videos = [], []
        parts = sorted(members)
        spans = [(start, start + length) for _, start, length in parts]
        for (extension, *_), data in zip(parts, self.store.ranges(self.archives[number], spans), strict=True):
            kind = extension.rsplit(".", 1)[-1].lower()
            if kind == "json":
                row |= _record(data, key)
            elif kind == "txt":
                row["caption"] = data.decode(errors="replace").strip()
            elif kind in IMAGES:
                images.append(data)
            elif kind in VIDEOS:
                videos.append(data)
        return to_sample({**row, "image": images, "video": videos}, ".", self.kinds)

    def id(self, index: int) -> str:
        return self.samples[index][1]

    def chunks(self) -> Sequence[int]:
        return self.counts

    def _index(self, archive: str) -> dict[str, list[Member]]:
        found: dict[str, list[Member]] = {}
        try:
            with self.store.files.open(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    path = PurePosixPath(member.name)
                    name, _, extension = path.name.partition(".")
                    if member.isfile():
                        key = str(path.with_name(name))
                        found.setdefault(key, []).append((extension, member.offset_data, member.size))
        except failures(tarfile.TarError) as error:
            told = " ".join(str(error).split())
            raise InputError(f"{archive} is no tar archive that can be read, compressed or cut: {told}") from None
        return found


def _record(data: bytes, key: str) -> dict[str, Any]:
    try:
        record = json.loads(data)
    except ValueError as error:
        raise BadSample("broken record", f"the record of {key} is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise BadSample("broken record", f"the record of {key} is a {type(record).__name__}")
    return record
