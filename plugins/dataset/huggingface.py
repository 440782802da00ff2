"""Tables of Hugging Face datasets: Arrow or Parquet, on disk, on the hub, or streamed from a store."""

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow.parquet import ParquetFile

from interleave import BadSample, Dataset, InputError, Sample, datasets, hint

from .base.object_stores import Store, failures
from .base.table_rows import to_sample

KEPT = 4
"""Row groups that a process keeps decoded."""


@datasets.register("huggingface")
class HuggingFace(Dataset):
    """Rows with ``conversations`` and ``image``, ``images`` or ``video``.

    path: a data set on the hub, a folder that ``datasets`` saved, a folder of Parquet files; with stream also a pattern
    of Parquet files in any store, such as s3://bucket/*.parquet or hf://datasets/NAME/**/*.parquet. subset and split:
    of the hub's data set. stream: read row groups as they are needed, instead of fetching all before the start.
    storage: options of the store that is streamed from, such as {endpoint_url: https://...}. media: the folder that
    paths in the rows start from. single, several, video: as for llava_json.
    """

    def __init__(  # noqa: PLR0913 (the options that a config sets)
        self,
        path: str,
        subset: str | None = None,
        split: str = "train",
        stream: bool = False,
        storage: dict[str, Any] | None = None,
        media: str = ".",
        single: str = "multipatch",
        several: str = "image",
        video: str = "video",
    ) -> None:
        self.media, self.kinds = media, {"single": single, "several": several, "video": video}
        self.single_picture = single
        self.rows: Any = ParquetRows(path, storage) if stream else read_table(path, subset, split)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        return to_sample(self.rows[index], self.media, self.kinds)

    def chunks(self) -> Sequence[int]:
        return self.rows.groups if isinstance(self.rows, ParquetRows) else ()


def read_table(path: str, subset: str | None, split: str) -> Any:
    """A table that is mapped into memory, its pictures still as files have them. Raises InputError.

    Of a copy of a hub's data set, with its card in README.md, subset and split are chosen as on the hub. Of a folder
    without one the Parquet files of the split are read, ``SPLIT-*.parquet``, or all, where none is called so.
    """
    try:
        import datasets as hf
    except ImportError:
        raise InputError("tables of Hugging Face need datasets: pip install interleave[huggingface]") from None
    hf.logging.set_verbosity(logging.CRITICAL)  # what is wrong is said once, below
    try:
        table = _opened(hf, path, subset, split)
    except InputError:  # a ValueError, too
        raise
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as a data set: {' '.join(str(error).split())[:300]}") from None
    for name, feature in table.features.items():
        inner = getattr(feature, "feature", None)
        if isinstance(feature, hf.Image):
            table = table.cast_column(name, hf.Image(decode=False))
        elif isinstance(inner, hf.Image):
            table = table.cast_column(name, hf.List(hf.Image(decode=False)))
    return table


def _opened(hf: Any, path: str, subset: str | None, split: str) -> Any:
    if Path(path, "state.json").is_file() or Path(path, "dataset_dict.json").is_file():
        table = hf.load_from_disk(path)
        if isinstance(table, hf.DatasetDict) and split not in table:
            raise InputError(f"{path} has no split {split!r}{hint(split, table)}")
        return table[split] if isinstance(table, hf.DatasetDict) else table
    if Path(path).is_file():
        return hf.load_dataset("parquet", data_files=[path], split="train")
    if Path(path).is_dir() and not Path(path, "README.md").is_file():
        every = sorted(Path(path).rglob("*.parquet"))
        if not every:
            raise InputError(f"{path} holds neither a saved data set nor Parquet files")
        files = [str(p) for p in every if p.name.startswith(f"{split}-")] or [str(p) for p in every]
        return hf.load_dataset("parquet", data_files=files, split="train")
    return hf.load_dataset(path, subset, split=split)


class ParquetRows:
    """Rows of Parquet files by number; of each file only the footer and the row groups that are asked for are read."""

    def __init__(self, pattern: str, storage: Mapping[str, Any] | None = None) -> None:
        self.store = Store(pattern, storage)
        self.places: list[tuple[str, int]] = []
        self.groups: list[int] = []
        for name in self.store.names(".parquet"):
            try:
                with self.store.files.open(name) as file:
                    footer = ParquetFile(file).metadata
            except failures() as error:  # Arrow's own are of these kinds
                raise InputError(f"{name} is no Parquet file that can be read: {error}") from None
            for group in range(footer.num_row_groups):
                self.places.append((name, group))
                self.groups.append(footer.row_group(group).num_rows)
        self.starts = [0, *accumulate(self.groups)]
        self.kept: OrderedDict[int, list[dict[str, Any]]] = OrderedDict()

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        group = int(np.searchsorted(self.starts, index, side="right")) - 1
        if group not in self.kept:
            self.kept[group] = self._read(*self.places[group])
            if len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(group)
        return self.kept[group][index - self.starts[group]]

    def _read(self, name: str, group: int) -> list[dict[str, Any]]:
        try:
            with self.store.files.open(name) as file:
                rows: list[dict[str, Any]] = ParquetFile(file).read_row_group(group).to_pylist()
        except failures() as error:
            raise BadSample("unreadable file", f"rows of {name} cannot be read: {error}") from None
        return rows
