"""The contract of data sets."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from ..core.sample import Preference, Sample


class Dataset(ABC):
    """Samples by number."""

    weight: float = 1.0
    """How often an epoch reads each sample, on average."""
    group: str = ""
    """What ``interleave data`` counts it under, such as a domain."""
    single_picture: str = ""
    """The modality that takes a picture which is a sample's only one; empty where samples say it one by one."""
    expected: int | None = None
    """How many samples there should be, where that is known."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample | Preference:
        """A conversation, or a preferred and a rejected one. Raises BadSample where the record is not usable."""

    def validation(self) -> "Dataset | None":
        """Samples held back from training, if the data set has any."""
        return None

    def id(self, index: int) -> str:
        """How the data calls a sample; cheap, and there even where the sample is broken."""
        return str(index)

    def sources(self, name: str) -> Mapping[str, "Dataset"]:
        """The parts among which the mixture draws, where it is a collection; itself, under its ``name``, else."""
        return {name: self}

    def chunks(self) -> Sequence[int]:
        """Lengths of runs of samples that are cheap to read together, such as shards; empty where any order is."""
        return ()
