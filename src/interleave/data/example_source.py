"""Data sets to Examples: what a loader worker does with the name of a source and the number of a sample."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..core.errors import BadSample, InputError, hint, sample_border
from ..core.sample import Preference, Sample
from ..core.types import Example, VisionSpec
from ..interfaces.dataset import Dataset
from ..interfaces.model_parts import ChatTokenizer, ModalityAdapter
from ..processing.collate import join_pair
from ..processing.over_length import ExampleLimits, render_to_fit
from ..processing.placement import Placement, place_visuals
from ..processing.render import Labels, render
from .mixture import Supply

QUARANTINED = "quarantined"
"""Reason of samples that are left out because an earlier run found them to be bad."""


@dataclass(frozen=True)
class Rendering:
    """How samples are rendered, for all sources. The fields are options of the config node ``data``.

    labels: which tokens are learned.
    placement: where a message shows its visuals.
    front: with ``placement`` ``mixed``, the share of samples that have them in front, from 0 to 1.
    """

    labels: Labels = "assistant"
    placement: Placement = "interleaved"
    front: float = 0.5


@dataclass(frozen=True)
class SourceOptions:
    """Options of a single source, of the config node ``data.sources``. None means: as for all others.

    weight: how often an epoch reads each of its samples, on average; by default the data set's own.
    placement, front: as in ``Rendering``.
    """

    weight: float | None = None
    placement: Placement | None = None
    front: float | None = None


@dataclass(frozen=True)
class ExampleSource:
    """Everything that turns a number into an Example. It is copied to loader workers, so it holds no weights.

    datasets: the sources by name.
    adapters: modalities by name, without weights.
    chat: the tokenizer and the form of a message.
    vision: what views must look like.
    rendering: options for all sources.
    limits: how large an example may be; None where nothing is too large.
    own: options of single sources, by name.
    quarantine: (source, number) of samples that are left out unread -> the ids that they had then.
    reference: a pair of replies -> the log-probabilities of both under the model that training began with.
    """

    datasets: Mapping[str, Dataset]
    adapters: Mapping[str, ModalityAdapter]
    chat: ChatTokenizer
    vision: VisionSpec
    rendering: Rendering = Rendering()
    limits: ExampleLimits | None = None
    own: Mapping[str, SourceOptions] = field(default_factory=dict)
    quarantine: Mapping[tuple[str, int], str] = field(default_factory=dict)
    reference: Callable[[Example], tuple[float, float]] | None = None

    def __post_init__(self) -> None:
        """Raises InputError where ``own`` names a source that there is not."""
        for name in self.own:
            if name not in self.datasets:
                raise InputError(f"data.sources: there is no source {name!r}{hint(name, self.datasets)}")

    def supplies(self) -> dict[str, Supply]:
        """What the mixture must know of each source, by name."""
        supplies: dict[str, Supply] = {}
        for name, dataset in self.datasets.items():
            weight = self.own.get(name, SourceOptions()).weight
            if weight is None:
                weight = dataset.weight
            supplies[name] = Supply(len(dataset), weight, tuple(dataset.chunks()))
        return supplies

    def single_picture(self) -> str:
        """The modality that most data takes a sample's only picture for; empty where no data set says. Inference then
        does the same.
        """
        counts: Counter[str] = Counter()  # modality -> samples
        for dataset in self.datasets.values():
            counts[dataset.single_picture] += len(dataset)
        del counts[""]  # data sets that say it sample by sample
        return counts.most_common(1)[0][0] if counts else ""

    def example(self, name: str, index: int) -> Example | InputError:
        """Sample ``index`` of source ``name``. An error comes back as a value: it must pass from worker to loader."""
        dataset = self.datasets[name]
        try:
            if (name, index) in self.quarantine:
                return self._quarantined(name, index)
            with sample_border():
                return _with_a_label(self.render(dataset[index], name))
        except BadSample as bad:  # the sample is replaced by another one
            return BadSample(bad.reason, f"{name}[{index}]: {bad.message}")
        except InputError as error:  # the run stops: no other sample would do better
            return error

    def render(self, sample: Sample | Preference, name: str = "") -> Example:
        """A conversation as one example, or a preference as one with two documents, shortened where it must be.

        name: of the source, whose own options hold. Raises BadSample where the sample cannot be used, InputError where
        no sample could.
        """

        def make(adapters: Mapping[str, ModalityAdapter]) -> Example:
            if isinstance(sample, Preference):
                chosen = self._conversation(sample.chosen, name, adapters)
                rejected = self._conversation(sample.rejected, name, adapters)
                return join_pair(chosen, rejected)
            return self._conversation(sample, name, adapters)

        # what is too large is made again, with adapters that show less
        example = render_to_fit(make, self.adapters, self.limits) if self.limits else make(self.adapters)
        if isinstance(sample, Preference) and self.reference:
            return replace(example, reference=self.reference(example))
        return example

    def validation(self) -> "ExampleSource | None":
        """The same for the samples that data sets hold back from training; None where no data set does."""
        held_back: dict[str, Dataset] = {}
        for name, dataset in self.datasets.items():
            validation = dataset.validation()
            if validation is not None:
                held_back[name] = validation
        if not held_back:
            return None
        own = {name: options for name, options in self.own.items() if name in held_back}
        return replace(self, datasets=held_back, own=own, quarantine={})  # a quarantine counts samples of training

    def _conversation(self, sample: Sample, name: str, adapters: Mapping[str, ModalityAdapter]) -> Example:
        own = self.own.get(name, SourceOptions())
        front = self.rendering.front if own.front is None else own.front
        arranged = place_visuals(sample, own.placement or self.rendering.placement, front)
        example = render(arranged, adapters, self.chat, labels=self.rendering.labels)
        return replace(example, notes=tuple(sample.notes))  # repairs, for the ledger

    def _quarantined(self, name: str, index: int) -> BadSample:
        """Raises InputError where the data is not the one that was read when the sample was found to be bad."""
        known, found = self.quarantine[name, index], self.datasets[name].id(index)
        if known != found:
            raise InputError(
                f"data.quarantine names {name}[{index}] as {known!r}, and the data calls it {found!r}: "
                "the data has changed since; make a new ledger"
            )
        return BadSample(QUARANTINED, f"{name}[{index}] {found} is in quarantine")


def flattened(datasets: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Data sets by name, with collections replaced by their parts. Raises InputError where two parts have one name."""
    parts: dict[str, Dataset] = {}
    for name, dataset in datasets.items():
        for part, source in dataset.sources(name).items():
            if part in parts:
                raise InputError(f"two data sets have a source named {part!r}; choose one of them")
            parts[part] = source
    return parts


def sample_id(dataset: Dataset, index: int) -> str:
    """What a data set calls a sample; its number where that cannot be read."""
    try:
        with sample_border():
            return str(dataset.id(index))
    except BadSample:
        return str(index)


def _with_a_label(example: Example) -> Example:
    """The example as it is. Raises BadSample where none of its tokens is learned."""
    if not (example.labels >= 0).any():  # labels: (T,), IGNORE is below 0
        raise BadSample("nothing to learn", "no token is supervised")
    return example
