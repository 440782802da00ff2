"""Every sample of the sources, rendered in parallel, and what can be said of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ..core.errors import BadSample, InputError
from ..core.types import Example
from ..data.example_source import Source
from ..processing.over_length import fits


@dataclass(frozen=True)
class Facts:
    """Of one sample. reason, message: why it cannot be used, empty where it can. visuals: by modality."""

    source: str
    index: int
    id: str
    reason: str = ""
    message: str = ""
    tokens: int = 0
    learned: int = 0
    visual_tokens: int = 0
    views: int = 0
    visuals: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()


def survey(source: Source, limit: int | None = None, num_workers: int = 0, title: str = "samples") -> Iterator[Facts]:
    """Facts of every sample, or of ``limit`` of each source, spread over it. Raises InputError."""
    numbers = chosen(source, limit)
    loader = DataLoader(_Facts(source, numbers), batch_size=None, num_workers=num_workers, collate_fn=_same)
    for facts in track(loader, title, total=len(numbers), console=Console(stderr=True)):
        if isinstance(facts, InputError):
            raise facts
        yield facts


def chosen(source: Source, limit: int | None) -> list[tuple[str, int]]:
    """Which samples, by source and number."""
    return [
        (name, int(i))
        for name, dataset in source.datasets.items()
        for i in np.linspace(0, len(dataset) - 1, min(len(dataset), limit or len(dataset))).astype(int)
    ]


def samples(number: int) -> str:
    return f"{number:,} {'sample' if number == 1 else 'samples'}"


def wide() -> Console:
    """Standard output; in a file, tables need no terminal's width."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


class _Facts(TorchDataset[Facts | InputError]):
    """What workers run. Nothing is made to fit: what is too large is to be seen."""

    def __init__(self, source: Source, numbers: list[tuple[str, int]]) -> None:
        self.room, self.numbers = source.room, numbers
        self.source = replace(source, room=None)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Facts | InputError:
        name, number = self.numbers[index]
        called = self.source.datasets[name].id(number)
        result = self.source.example(name, number)
        if isinstance(result, BadSample):
            return Facts(name, number, called, result.reason, result.message)
        if isinstance(result, InputError):
            return result
        reason, message = "", ""
        if self.room:
            try:
                fits(result, self.room.sequence_length, self.room.max_views)
            except BadSample as bad:
                reason, message = bad.reason, bad.message
        return _facts(name, number, called, reason, message, result)


def _facts(name: str, number: int, called: str, reason: str, message: str, example: Example) -> Facts:
    return Facts(
        name, number, called, reason, message,
        tokens=len(example.input_ids),
        learned=int((example.labels >= 0).sum()),
        visual_tokens=len(example.visual_positions),
        views=example.views,
        visuals=Counter(v.kind for v in example.visuals),
        notes=tuple(note.reason for note in example.notes),
    )  # fmt: skip


def _same(item: Any) -> Any:
    return item
