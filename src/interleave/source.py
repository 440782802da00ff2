"""Data sets -> Examples: what a loader worker does with a number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .collate import pair
from .interfaces import Chat, Dataset, ModalityAdapter
from .placement import Placement, placed
from .render import Labels, render
from .sample import Preference, Sample
from .types import BadSample, Example, InputError, VisionSpec


@dataclass(frozen=True)
class Rendering:
    """labels: what is learned. placement: where visuals stand, and ``front`` the share of samples that are ``mixed``
    in with all of them in front.
    """

    labels: Labels = "assistant"
    placement: Placement = "interleaved"
    front: float = 0.5


@dataclass(frozen=True)
class Source:
    """Everything that turns a number into an Example, in a loader worker: data sets, adapters without weights, chat."""

    datasets: Mapping[str, Dataset]
    adapters: Mapping[str, ModalityAdapter]
    chat: Chat
    vision: VisionSpec
    rendering: Rendering = Rendering()
    reference: Callable[[Example], tuple[float, float]] | None = None

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets.values())

    def example(self, index: int) -> Example | InputError:
        """Of the data sets one after another. An error comes back as a value: it must pass from worker to loader."""
        for name, dataset in self.datasets.items():
            if index < len(dataset):
                try:
                    return _supervised(self.render(dataset[index]))
                except BadSample as bad:
                    return BadSample(bad.reason, f"{name}[{index}]: {bad.message}")
                except InputError as error:
                    return error
            index -= len(dataset)
        raise IndexError(index)

    def render(self, sample: Sample | Preference) -> Example:
        """A conversation, or a pair of them as one unit, with its log-probabilities where they are known."""
        if isinstance(sample, Preference):
            both = pair(self.render(sample.chosen), self.render(sample.rejected))
            return replace(both, reference=self.reference(both)) if self.reference else both
        told = placed(sample, self.rendering.placement, self.rendering.front)
        return render(told, self.adapters, self.chat, labels=self.rendering.labels)

    def validation(self) -> "Source | None":
        held = {name: held for name, d in self.datasets.items() if (held := d.validation()) is not None}
        return replace(self, datasets=held) if held else None


def _supervised(example: Example) -> Example:
    if not (example.labels >= 0).any():
        raise BadSample("nothing to learn", "no token is supervised")
    return example
