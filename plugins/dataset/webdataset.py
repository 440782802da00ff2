"""Tar archives in the form of WebDataset, read by number, so that a run can be mixed and resumed exactly."""

import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from interleave import (
    BadSample,
    Dataset,
    InputError,
    Sample,
    counting_order,
    datasets,
    is_picture,
    is_video,
    one_line,
)

from .base.object_stores import Store, failures
from .base.table_rows import to_sample


class Member(NamedTuple):
    """A file in an archive.

    name: with its suffix and without its folder.
    start: its first byte in the archive.
    length: in bytes.
    """

    name: str
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
    pictures, videos. Where the record names the sample's files they come in its order, else in that of their names.

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
        members = sorted(members, key=lambda member: counting_order(member.name))
        spans = [(member.start, member.start + member.length) for member in members]
        row: dict[str, object] = {"id": key}
        images: dict[str, bytes] = {}  # by name, as the videos
        videos: dict[str, bytes] = {}
        for member, data in zip(members, self.store.ranges(self.archives[archive], spans), strict=True):
            path = PurePosixPath(member.name)
            if path.suffix == ".json":
                row |= _read_record(data, key)
            elif path.suffix == ".txt":
                row["caption"] = data.decode(errors="replace").strip()
            elif is_picture(path):
                images[member.name] = data
            elif is_video(path):
                videos[member.name] = data
        shown = {
            "image": _as_the_record_names(images, row.get("image") or row.get("images")),
            "video": _as_the_record_names(videos, row.get("video") or row.get("videos")),
        }
        return to_sample({**row, **shown}, ".", self.modalities)

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
                    if member.isfile() and not path.name.startswith("._"):  # which macOS puts beside each file
                        key = str(path.with_name(path.name.partition(".")[0]))  # "a/1.left.png" -> "a/1"
                        found.setdefault(key, []).append(Member(path.name, member.offset_data, member.size))
        except failures(tarfile.TarError) as error:
            reason = one_line(error)
            raise InputError(f"{archive} is no tar archive that can be read, compressed or cut: {reason}") from None
        return found


def _as_the_record_names(files: Mapping[str, bytes], names: object) -> list[bytes]:
    """A sample's files of one kind in the order of the record, where its names are theirs, else as they are.

    A record may name a file by its path of before it was packed, or by what stands behind the key in the archive.
    """
    listed = names if isinstance(names, list) else [names]
    by_name = {name.partition(".")[2]: name for name in files} | {name: name for name in files}
    found = [by_name.get(PurePosixPath(name).name) if isinstance(name, str) else None for name in listed]
    if len(set(found)) != len(files) or None in found:
        return list(files.values())
    return [files[name] for name in found if name is not None]


def _read_record(data: bytes, key: str) -> Mapping[str, object]:
    """The JSON object of a sample. Raises BadSample."""
    try:
        record = json.loads(data)
    except ValueError as error:
        raise BadSample("broken record", f"the record of {key} is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise BadSample("broken record", f"the record of {key} is a {type(record).__name__}")
    return record
