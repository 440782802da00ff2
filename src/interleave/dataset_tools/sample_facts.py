"""Every sample of the sources, rendered in parallel, and what can be said of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ..core.errors import BadSample, InputError
from ..core.types import Example
from ..data.example_source import ExampleSource, sample_id
from ..data.feed import unchanged
from ..processing.over_length import check_fits


@dataclass(frozen=True)
class Facts:
    """What is known of one sample.

    source, index, id: name of the source, number of the sample in it, and how the data calls it.
    reason, message: why it cannot be used, in a few words and in full; empty where it can. What is too large has
        numbers beside them; of other samples that cannot be used the numbers are 0.
    tokens: length of the example.
    learned: tokens that are learned.
    visual_tokens: tokens that stand for features.
    views: of all its visuals.
    visuals: number of visuals by modality.
    notes: reason of each repair.
    """

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


def survey(
    source: ExampleSource, limit: int | None = None, num_workers: int = 0, title: str = "samples"
) -> Iterator[Facts]:
    """Render samples and yield the facts of each, with a progress bar on standard error.

    limit: samples of each source at most, spread over it; None for all.
    num_workers: processes that render; 0 for this one.
    title: stands beside the progress bar.

    Raises InputError for an error that is no single sample's.
    """
    numbers = choose_samples(source, limit)
    loader = DataLoader(_Facts(source, numbers), batch_size=None, num_workers=num_workers, collate_fn=unchanged)
    for facts in track(loader, title, total=len(numbers), console=Console(stderr=True)):
        if isinstance(facts, InputError):
            raise facts
        yield facts


def choose_samples(source: ExampleSource, limit: int | None) -> list[tuple[str, int]]:
    """(name of the source, number) of every sample, or of ``limit`` of each source, spread evenly over it."""
    numbers: list[tuple[str, int]] = []
    for name, dataset in source.datasets.items():
        size = len(dataset)
        # from the first to the last sample in equal steps
        spread = np.linspace(0, size - 1, min(size, limit or size)).astype(int)
        numbers += [(name, int(i)) for i in spread]
    return numbers


def count_samples(number: int) -> str:
    """The number with its noun: "1 sample", "1,200 samples"."""
    return f"{number:,} {'sample' if number == 1 else 'samples'}"


def wide_console() -> Console:
    """Standard output; where that is a file, tables need not fit into a terminal's width."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


class _Facts(TorchDataset[Facts | InputError]):
    """What workers run. Samples are not shortened to fit: what is too large is to be seen."""

    def __init__(self, source: ExampleSource, numbers: list[tuple[str, int]]) -> None:
        self.limits = source.limits  # what an example may take in training
        self.numbers = numbers
        self.source = replace(source, limits=None)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Facts | InputError:
        """An error that is no single sample's comes back as a value: it must pass from worker to survey."""
        name, number = self.numbers[index]
        facts = Facts(name, number, sample_id(self.source.datasets[name], number))
        result = self.source.example(name, number)
        if isinstance(result, BadSample):
            return replace(facts, reason=result.reason, message=result.message)
        if isinstance(result, InputError):
            return result
        if self.limits:  # the example is whole, so its numbers tell by how much it is too large
            try:
                check_fits(result, self.limits.sequence_length, self.limits.max_views)
            except BadSample as bad:
                facts = replace(facts, reason=bad.reason, message=bad.message)
        return _counted(facts, result)


def _counted(facts: Facts, example: Example) -> Facts:
    """The facts with the numbers of an example."""
    return replace(
        facts,
        tokens=len(example.input_ids),
        learned=int((example.labels >= 0).sum()),  # IGNORE is below 0
        visual_tokens=len(example.visual_positions),
        views=example.views,
        visuals=Counter(visual.kind for visual in example.visuals),
        notes=tuple(note.reason for note in example.notes),
    )
