"""The contract of data sets."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from ..core.sample import Preference, Sample


class Dataset(ABC):
    """Samples by number, from 0. It is copied to loader workers and read in several processes at once.

    Training draws from it through the mixture, each sample ``weight`` times an epoch on average.
    """

    weight: float = 1.0
    """How often an epoch reads each sample, on average."""
    group: str = ""
    """What ``interleave data`` counts it under, such as a domain."""
    single_picture: str = ""
    """The modality that takes a picture which is a sample's only one. Where it is empty, the samples name it
    themselves."""
    expected: int | None = None
    """How many samples there should be, where that is known; ``interleave data check`` compares."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample | Preference:
        """A conversation, or a preferred and a rejected one. Raises BadSample where the record is not usable."""

    def validation(self) -> "Dataset | None":
        """The samples that are held back from training, where the data set has any."""
        return None

    def id(self, index: int) -> str:
        """How the data calls a sample. It reads no media and does not fail where the sample is broken."""
        return str(index)

    def sources(self, name: str) -> Mapping[str, "Dataset"]:
        """The data sets among which the mixture draws: the parts of a collection by their names, else this one alone.

        name: what the config calls this data set.
        """
        return {name: self}

    def chunks(self) -> Sequence[int]:
        """Lengths of runs of consecutive samples that are cheap to read together, such as those of one shard.

        They sum to ``len(self)``; empty where samples can be read in any order at the same cost.
        """
        return ()
