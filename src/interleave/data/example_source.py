"""Data sets -> Examples: what a loader worker does with a number."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..core.errors import BadSample, InputError, hint
from ..core.sample import Preference, Sample
from ..core.types import Example, VisionSpec
from ..interfaces.dataset import Dataset
from ..interfaces.model_parts import ChatTokenizer, ModalityAdapter
from ..processing.collate import pair
from ..processing.over_length import Room, fitted
from ..processing.placement import Placement, placed
from ..processing.render import Labels, render
from .mixture import Supply


@dataclass(frozen=True)
class Rendering:
    """labels: what is learned. placement: where visuals stand, and ``front`` the share of samples that are ``mixed``
    in with all of them in front.
    """

    labels: Labels = "assistant"
    placement: Placement = "interleaved"
    front: float = 0.5


@dataclass(frozen=True)
class Own:
    """What one source has of its own: its weight in the mixture, and where its visuals stand. None as for all."""

    weight: float | None = None
    placement: Placement | None = None
    front: float | None = None


@dataclass(frozen=True)
class Source:
    """Everything that turns a number into an Example, in a loader worker: data sets, adapters without weights, chat.

    room: what an example may take; None where nothing is too large. own: settings of single sources, by name.
    quarantine: (source, number) of the samples that are left out unread, with their ids.
    """

    datasets: Mapping[str, Dataset]
    adapters: Mapping[str, ModalityAdapter]
    chat: ChatTokenizer
    vision: VisionSpec
    rendering: Rendering = Rendering()
    room: Room | None = None
    own: Mapping[str, Own] = field(default_factory=dict)
    quarantine: Mapping[tuple[str, int], str] = field(default_factory=dict)
    reference: Callable[[Example], tuple[float, float]] | None = None

    def __post_init__(self) -> None:
        for name in self.own:
            if name not in self.datasets:
                raise InputError(f"data.sources: there is no source {name!r}{hint(name, self.datasets)}")

    def supplies(self) -> dict[str, Supply]:
        """What the mixture draws from."""
        own = {name: self.own.get(name, Own()).weight for name in self.datasets}
        return {
            name: Supply(len(d), d.weight if (weight := own[name]) is None else weight, tuple(d.chunks()))
            for name, d in self.datasets.items()
        }

    def single_picture(self) -> str:
        """The modality that takes a sample's only picture, as most samples of the data sets have it; empty where none
        of them says."""
        counts: Counter[str] = Counter()
        for dataset in self.datasets.values():
            counts[dataset.single_picture] += len(dataset)
        del counts[""]
        return counts.most_common(1)[0][0] if counts else ""

    def example(self, name: str, index: int) -> Example | InputError:
        """An error comes back as a value: it must pass from worker to loader."""
        dataset = self.datasets[name]
        try:
            if (name, index) in self.quarantine:
                return self._quarantined(name, index)
            return _supervised(self.render(dataset[index], name))
        except BadSample as bad:
            return BadSample(bad.reason, f"{name}[{index}]: {bad.message}")
        except InputError as error:
            return error

    def render(self, sample: Sample | Preference, name: str = "") -> Example:
        """A conversation, or a pair of them as one unit, with its log-probabilities where they are known.

        name: of the source. Raises BadSample and InputError.
        """

        def make(adapters: Mapping[str, ModalityAdapter]) -> Example:
            if isinstance(sample, Preference):
                return pair(self._conversation(sample.chosen, name, adapters),
                            self._conversation(sample.rejected, name, adapters))  # fmt: skip
            return self._conversation(sample, name, adapters)

        example = fitted(make, self.adapters, self.room) if self.room else make(self.adapters)
        if isinstance(sample, Preference) and self.reference:
            return replace(example, reference=self.reference(example))
        return example

    def _conversation(self, sample: Sample, name: str, adapters: Mapping[str, ModalityAdapter]) -> Example:
        own, common = self.own.get(name, Own()), self.rendering
        share = common.front if own.front is None else own.front
        told = placed(sample, own.placement or common.placement, share)
        return replace(render(told, adapters, self.chat, labels=common.labels), notes=tuple(sample.notes))

    def _quarantined(self, name: str, index: int) -> BadSample:
        """Raises InputError where the data is not the one that was read when the sample was found to be bad."""
        known, found = self.quarantine[name, index], self.datasets[name].id(index)
        if known != found:
            raise InputError(
                f"data.quarantine names {name}[{index}] as {known!r}, and the data calls it {found!r}: "
                "the data has changed since; make a new ledger"
            )
        return BadSample(QUARANTINED, f"{name}[{index}] {found} is in quarantine")

    def validation(self) -> "Source | None":
        held = {name: held for name, d in self.datasets.items() if (held := d.validation()) is not None}
        own = {name: settings for name, settings in self.own.items() if name in held}
        return replace(self, datasets=held, own=own, quarantine={}) if held else None


QUARANTINED = "quarantined"


def flattened(datasets: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Collections as their parts, by name. Raises InputError where two parts have one name."""
    parts: dict[str, Dataset] = {}
    for name, dataset in datasets.items():
        for part, source in dataset.sources(name).items():
            if part in parts:
                raise InputError(f"two data sets have a source named {part!r}; choose one of them")
            parts[part] = source
    return parts


def _supervised(example: Example) -> Example:
    if not (example.labels >= 0).any():
        raise BadSample("nothing to learn", "no token is supervised")
    return example
