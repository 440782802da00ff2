"""The folder of a run: whether a command may use it, what it goes on from there, and what is left of an earlier run.

composed.yaml        the config as it was composed; the same command goes on, another one is refused
config.yaml          enough to build the model again; with ``init`` its parts are those of that checkpoint
checkpoints/         one folder a checkpoint, for resuming
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from omegaconf import OmegaConf

from ..checkpoints import save_config
from ..core.errors import InputError
from ..core.files import replacing
from ..core.options import Config
from .resume import complete_checkpoints, last_checkpoint

COMPOSED, CONFIG = "composed.yaml", "config.yaml"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""One of them is there when the training is done."""
SETTINGS_OF_A_CALL = ("resume", "overwrite")
"""Settings that say what this call does with the folder, and are no part of the run that it holds."""
LEFT_BY_A_RUN = (
    COMPOSED, CONFIG, *WEIGHTS, "model-*-of-*.safetensors", ".weights.part", "tokenizer", "adapter", "checkpoints",
    "ledger.jsonl", "metrics", "wandb", "replies.jsonl", "replies.part-*.jsonl", "asked.json", "results.json",
    "judgements.sqlite", "report.html", "report.md", "profile",
)  # fmt: skip
"""What ``overwrite`` removes; anything else in the folder was not written by a run."""


def resume_from(config: Config) -> Path | None:
    """The checkpoint that the command goes on from; None where it begins anew. Changes nothing on the disk.

    ``resume`` names it. Without, a command whose ``run`` exists goes on from that run's newest complete checkpoint if
    the config is the same. Raises InputError where the folder holds a run that the command would destroy.
    """
    run, resume = Path(config["run"]), config["resume"]
    if resume and config["overwrite"]:
        raise InputError("resume and overwrite=true contradict each other: one goes on from what the other removes")
    if resume:
        found = last_checkpoint(Path(resume))
        # a checkpoint of one run would continue in the folder of another, over its files
        if _holds_run(run) and not found.resolve().is_relative_to(run.resolve()):
            raise InputError(f"{run} holds another run than {resume}; {_ways_out(run)}")
        return found
    if config["overwrite"] or not _holds_run(run):
        return None
    difference = _difference(run, config)  # the folder holds a run, and nothing says what to do with it
    if difference:
        raise InputError(f"{run} holds a run with another config ({difference}); {_ways_out(run)}")
    if complete_checkpoints(run):
        return last_checkpoint(run)
    if any((run / name).exists() for name in WEIGHTS):
        raise InputError(f"{run} holds this run, finished and without a checkpoint to go on from; {_ways_out(run)}")
    return None  # it was stopped before its first checkpoint


def begin(composed: Config, described: Config) -> None:
    """Make the folder ready: with ``overwrite`` remove what an earlier run left, and write both config files.

    Rank 0 alone calls it, once nothing of the command can be refused any more. composed: the config as it was composed,
    for ``composed.yaml``. described: the config by which the model can be built again, for ``config.yaml``.
    """
    run = Path(composed["run"])
    if composed["overwrite"] and _holds_run(run):
        for pattern in LEFT_BY_A_RUN:
            for path in list(run.glob(pattern)):  # listed before the first is removed
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    save_config(run, described)
    with replacing(run / COMPOSED) as part:
        OmegaConf.save(OmegaConf.create(_settings_of_the_run(composed)), part)


def _holds_run(run: Path) -> bool:
    return any((run / name).exists() for name in (COMPOSED, CONFIG, *WEIGHTS))


def _settings_of_the_run(config: Config) -> dict[str, object]:
    return {key: value for key, value in config.items() if key not in SETTINGS_OF_A_CALL}


def _difference(run: Path, config: Config) -> str:
    """How the config differs from that of the run in the folder, in words; empty where it does not."""
    path = run / COMPOSED
    if not path.is_file():
        return f"it has no {COMPOSED}"
    before = _leaves_by_name(OmegaConf.to_container(OmegaConf.load(path)))
    now = _leaves_by_name(OmegaConf.to_container(OmegaConf.create(_settings_of_the_run(config))))
    changed = [key for key in {**before, **now} if before.get(key, "absent") != now.get(key, "absent")]
    if not changed:
        return ""
    first = changed[0]
    more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{first} was {before.get(first, 'absent')} and is {now.get(first, 'absent')}{more}"


def _leaves_by_name(node: object) -> dict[str, object]:
    """All values of a nested config by their dotted names; an empty mapping is a value, too."""
    return dict(_leaves("", node))


def _leaves(name: str, node: object) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), value)
    else:
        yield name, node


def _ways_out(run: Path) -> str:
    """The second half of an error about a folder that is in use: what the user may do."""
    return (
        f"resume={run} goes on with the new settings, overwrite=true begins anew in its place, "
        f"init={run} with another run=... begins with its weights"
    )
