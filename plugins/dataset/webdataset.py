"""Tar archives in the form of WebDataset, read by number, so that a run can be mixed and resumed exactly."""

import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from interleave import BadSample, Dataset, InputError, Sample, datasets, one_line

from .base.object_stores import Store, failures
from .base.table_rows import to_sample

IMAGES = frozenset({"jpg", "jpeg", "png", "webp"})
VIDEOS = frozenset({"mp4", "webm", "mkv", "avi", "mov"})


class Member(NamedTuple):
    """A file in an archive. Members sort by extension, then by place, which is the order of a sample's pictures.

    extension: what follows the first dot of its name.
    start: its first byte in the archive.
    length: in bytes.
    """

    extension: str
    start: int
    length: int


class ArchivedSample(NamedTuple):
    """archive: its number. key: the common name of the members, with their folder in the archive."""

    archive: int
    key: str
    members: list[Member]


@datasets.register("webdataset")
class WebDataset(Dataset):
    """Members that share a name up to its first dot are a sample: ``.json`` (a LLaVA record) or ``.txt`` (a caption),
    pictures in the order of their names, videos.

    path: a pattern of archives, local or in a store, such as shards/*.tar or s3://bucket/*.tar, or a folder of them.
        Each archive is read through once at the start, to learn where its members lie.
    storage: options of the store, such as {endpoint_url: https://...}.
    single: the modality that takes the picture of a sample with one.
    several: the modality that takes each picture of a sample with several.
    video: the modality that takes each video.
    """

    def __init__(
        self,
        path: str,
        storage: dict[str, object] | None = None,
        single: str = "multipatch",
        several: str = "image",
        video: str = "video",
    ) -> None:
        self.modalities = {"single": single, "several": several, "video": video}
        self.single_picture = single
        self.store = Store(path, storage)
        self.archives = self.store.names(".tar")
        self.samples: list[ArchivedSample] = []
        self.counts: list[int] = []  # samples of each archive
        for number, archive in enumerate(self.archives):
            found = self._members_by_key(archive)
            for key, members in found.items():
                self.samples.append(ArchivedSample(number, key, members))
            self.counts.append(len(found))
        if not self.samples:
            raise InputError(f"{path} holds no samples: its archives are empty")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        archive, key, members = self.samples[index]
        members = sorted(members)  # so that pictures stand in the order of their names
        spans = [(member.start, member.start + member.length) for member in members]
        row: dict[str, object] = {"id": key}
        images: list[bytes] = []
        videos: list[bytes] = []
        for member, data in zip(members, self.store.ranges(self.archives[archive], spans), strict=True):
            suffix = member.extension.rsplit(".", 1)[-1].lower()  # "left.png" is a png
            if suffix == "json":
                row |= _read_record(data, key)
            elif suffix == "txt":
                row["caption"] = data.decode(errors="replace").strip()
            elif suffix in IMAGES:
                images.append(data)
            elif suffix in VIDEOS:
                videos.append(data)
        return to_sample({**row, "image": images, "video": videos}, ".", self.modalities)

    def id(self, index: int) -> str:
        return self.samples[index].key

    def chunks(self) -> Sequence[int]:
        return self.counts

    def _members_by_key(self, archive: str) -> dict[str, list[Member]]:
        """The members of an archive by sample, in the order of the archive. Raises InputError."""
        found: dict[str, list[Member]] = {}
        try:
            # "r:" refuses compressed archives, in which no member could be read alone
            with self.store.files.open(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    path = PurePosixPath(member.name)
                    name, _, extension = path.name.partition(".")  # "a/1.left.png" -> "1", "left.png"
                    if member.isfile():
                        key = str(path.with_name(name))
                        found.setdefault(key, []).append(Member(extension, member.offset_data, member.size))
        except failures(tarfile.TarError) as error:
            reason = one_line(error)
            raise InputError(f"{archive} is no tar archive that can be read, compressed or cut: {reason}") from None
        return found


def _read_record(data: bytes, key: str) -> Mapping[str, object]:
    """The JSON object of a sample. Raises BadSample."""
    try:
        record = json.loads(data)
    except ValueError as error:
        raise BadSample("broken record", f"the record of {key} is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise BadSample("broken record", f"the record of {key} is a {type(record).__name__}")
    return record
