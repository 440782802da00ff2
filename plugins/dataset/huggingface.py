"""Tables of Hugging Face datasets: Arrow or Parquet, on disk, on the hub, or streamed from a store."""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from pyarrow.parquet import ParquetFile

from interleave import BadSample, Dataset, InputError, Sample, datasets, hint, one_line

from .base.object_stores import Store, failures
from .base.table_rows import to_sample

KEPT = 4
"""How many row groups a process keeps decoded."""
Row = dict[str, object]


class Table(Protocol):
    """What is used of ``datasets.Dataset``, which has no types of its own: rows by number, mapped into memory."""

    @property
    def features(self) -> Mapping[str, object]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Row: ...

    def __iter__(self) -> Iterator[Row]: ...

    def cast_column(self, name: str, feature: object) -> "Table": ...

    def select_columns(self, names: Sequence[str]) -> "Table": ...

    def remove_columns(self, names: Sequence[str]) -> "Table": ...


@datasets.register("huggingface")
class HuggingFace(Dataset):
    """Rows with ``conversations`` and ``image``, ``images`` or ``video``.

    path: a data set on the hub, a folder that ``datasets`` saved, or a folder of Parquet files; with stream also a
        pattern of Parquet files in any store, such as s3://bucket/*.parquet or hf://datasets/NAME/**/*.parquet.
    subset: of the hub's data set, which calls it a configuration; null takes its only one.
    split: of the hub's data set.
    stream: read row groups as they are needed, instead of fetching everything before the start.
    storage: options of the store that is streamed from, such as {endpoint_url: https://...}.
    media: the folder that paths in the rows start from.
    single: the modality that takes the picture of a row with one.
    several: the modality that takes each picture of a row with several.
    video: the modality that takes each video.
    """

    def __init__(  # noqa: PLR0913 -- a config's options
        self,
        path: str,
        subset: str | None = None,
        split: str = "train",
        stream: bool = False,
        storage: dict[str, object] | None = None,
        media: str = ".",
        single: str = "multipatch",
        several: str = "image",
        video: str = "video",
    ) -> None:
        self.media = media
        self.modalities = {"single": single, "several": several, "video": video}
        self.single_picture = single
        self.rows: ParquetRows | Table = ParquetRows(path, storage) if stream else read_table(path, subset, split)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        return to_sample(self.rows[index], self.media, self.modalities)

    def chunks(self) -> Sequence[int]:
        return self.rows.groups if isinstance(self.rows, ParquetRows) else ()


def read_table(path: str, subset: str | None, split: str) -> Table:
    """A table that is mapped into memory. Its pictures stay encoded, as ``{"bytes": ..., "path": ...}``.

    Of a data set on the hub, or a copy of one with its card in README.md, subset and split are chosen as on the hub.
    Of a folder without a card the Parquet files of the split are read, ``SPLIT-*.parquet``, or all of its Parquet files
    where none has such a name. Raises InputError.
    """
    try:
        import datasets as hf
    except ImportError:
        raise InputError("tables of Hugging Face need datasets: pip install interleave[huggingface]") from None
    hf.logging.set_verbosity(logging.CRITICAL)  # it would log the error that is raised below
    try:
        table = _open_table(hf, path, subset, split)
    except InputError:  # which is a ValueError, and has its own words
        raise
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as a data set: {one_line(error)}") from None
    for name, feature in table.features.items():
        inner = getattr(feature, "feature", None)  # of a column of lists
        if isinstance(feature, hf.Image):
            table = table.cast_column(name, hf.Image(decode=False))
        elif isinstance(inner, hf.Image):
            table = table.cast_column(name, hf.List(hf.Image(decode=False)))
    return table


def _open_table(hf: ModuleType, path: str, subset: str | None, split: str) -> Table:
    """Choose how to read ``path`` by what lies there. hf: the module ``datasets``."""
    folder = Path(path)
    if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
        return _open_saved(hf, path, split)
    if folder.is_file():
        files = [path]
    elif folder.is_dir() and not (folder / "README.md").is_file():
        # A folder of plain files: those of the split, or all.
        every = sorted(folder.rglob("*.parquet"))
        if not every:
            raise InputError(f"{path} holds neither a saved data set nor Parquet files")
        of_split = [str(file) for file in every if file.name.startswith(f"{split}-")]
        files = of_split or [str(file) for file in every]
    else:
        table: Table = hf.load_dataset(path, subset, split=split)  # a name on the hub, or a copy with its card
        return table
    rows: Table = hf.load_dataset("parquet", data_files=files, split="train")  # so it calls files without a split
    return rows


def _open_saved(hf: ModuleType, path: str, split: str) -> Table:
    """A folder that ``save_to_disk`` wrote, of one table or of several splits."""
    found = hf.load_from_disk(path)
    if isinstance(found, hf.DatasetDict) and split not in found:
        raise InputError(f"{path} has no split {split!r}{hint(split, found)}")
    table: Table = found[split] if isinstance(found, hf.DatasetDict) else found
    return table


class ParquetRows:
    """Rows of Parquet files by number. Of each file only the footer and the row groups that are asked for are read.

    pattern: files, local or in a store.
    storage: options of the store.
    """

    def __init__(self, pattern: str, storage: Mapping[str, object] | None = None) -> None:
        self.store = Store(pattern, storage)
        self.places: list[tuple[str, int]] = []  # of each row group: its file, and its number in the file
        self.groups: list[int] = []  # rows of each row group
        for name in self.store.names(".parquet"):
            try:
                with self.store.files.open(name) as file:
                    footer = ParquetFile(file).metadata  # read without the rows
            except failures() as error:  # Arrow's own errors are ValueErrors and OSErrors
                raise InputError(f"{name} is no Parquet file that can be read: {error}") from None
            for group in range(footer.num_row_groups):
                self.places.append((name, group))
                self.groups.append(footer.row_group(group).num_rows)
        self.starts = [0, *accumulate(self.groups)]  # first row of each row group, then the number of all rows
        self.kept: OrderedDict[int, list[Row]] = OrderedDict()  # decoded row groups, the last used last

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Row:
        group = int(np.searchsorted(self.starts, index, side="right")) - 1
        if group not in self.kept:
            self.kept[group] = self._read(*self.places[group])
            # the row group that was used longest ago goes
            if len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(group)
        return self.kept[group][index - self.starts[group]]

    def _read(self, name: str, group: int) -> list[Row]:
        """A row group of a file. Raises BadSample."""
        try:
            with self.store.files.open(name) as file:
                rows: list[Row] = ParquetFile(file).read_row_group(group).to_pylist()
        except failures() as error:
            raise BadSample("unreadable file", f"rows of {name} cannot be read: {error}") from None
        return rows
