"""What an ablation compares, as a file of ``conf/ablation`` says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import yaml

from ..core.errors import InputError, hint
from ..core.options import check_option

FOLDER = Path(str(files("interleave.conf"))) / "ablation"


@dataclass(frozen=True)
class Arm:
    """One of the ways to train that are compared.

    experiment: name of the experiment, as in ``experiment=...`` of ``interleave train``.
    init: begin with the weights of the experiment that the ablation trains ``before``.
    """

    experiment: str
    init: bool = False


@dataclass(frozen=True)
class Ablation:
    """A file of ``conf/ablation``.

    title: heading of its table and plot.
    arms: name of each arm -> the arm.
    task: overrides of ``interleave eval`` that choose what is asked.
    columns: groups of the task that the table shows.
    before: an experiment that is trained once for each seed, for the arms that begin with its weights.
    asked: name of each way of asking -> overrides of ``interleave eval`` for it.
    """

    title: str
    arms: Mapping[str, Arm]
    task: tuple[str, ...]
    columns: tuple[str, ...]
    before: str | None = None
    asked: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"": ()})

    @property
    def compares_asking(self) -> bool:
        """Whether there are several ways of asking, which the table then names."""
        return len(self.asked) > 1


def known_ablations() -> list[str]:
    """Names of the files in ``conf/ablation``."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_ablation(name: str) -> Ablation:
    """Raises InputError for an unknown name, and for a file that does not fit the dataclass."""
    known = known_ablations()
    if name not in known:
        raise InputError(f"no ablation named {name!r}{hint(name, known)}")
    node = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    ablation: Ablation = check_option(f"ablation {name}", node, Ablation)
    return ablation


@dataclass(frozen=True)
class ScoreRow:
    """A row of an ablation's table.

    arm: its name.
    asked: the way of asking; empty where there is only one.
    scores: column -> a score in percent for each seed.
    """

    arm: str
    asked: str
    scores: Mapping[str, Sequence[float]]
