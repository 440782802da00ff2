"""The folder of a run: whether a command may use it, what it goes on from there, and what is left of an earlier run.

composed.yaml        the config as it was composed; the same command goes on, another one is refused
config.yaml          enough to build the model again; with ``init`` its parts are those of that checkpoint
checkpoints/         Lightning's, for resuming
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..checkpoints import save_config
from ..core.errors import InputError
from ..core.files import replacing
from .resume import checkpoints_in, last_checkpoint

COMPOSED, CONFIG, WEIGHTS = "composed.yaml", "config.yaml", "model.safetensors"
PER_CALL = ("resume", "overwrite")
"""Settings of a command that are not the run's."""
LEFT_BY_A_RUN = (
    COMPOSED, CONFIG, WEIGHTS, "model.safetensors.part", "tokenizer", "adapter", "checkpoints", "hpc_ckpt_*.ckpt",
    "ledger.jsonl", "metrics", "wandb", "replies.jsonl", "replies.part-*.jsonl", "asked.json", "results.json",
    "judgements.sqlite", "report.html", "report.md",
)  # fmt: skip
"""What ``overwrite`` removes; anything else in the folder was not written by a run."""


def resume_from(config: Mapping[str, Any]) -> Path | None:
    """The checkpoint that the command goes on from; None where it begins. Touches nothing.

    ``resume`` names it. Without, ``run`` of an existing run goes on from its newest whole checkpoint if the config is
    the same. Raises InputError where the folder holds a run that the command would destroy.
    """
    run, resume = Path(config["run"]), config["resume"]
    if resume and config["overwrite"]:
        raise InputError("resume and overwrite=true contradict each other: one goes on from what the other removes")
    if resume:
        found = last_checkpoint(Path(resume))
        if _holds_run(run) and not found.resolve().is_relative_to(run.resolve()):
            raise InputError(f"{run} holds another run than {resume}; {_ways_out(run)}")
        return found
    if config["overwrite"] or not _holds_run(run):
        return None
    if difference := _difference(run, config):
        raise InputError(f"{run} holds a run with another config ({difference}); {_ways_out(run)}")
    if checkpoints_in(run):
        return last_checkpoint(run)
    if (run / WEIGHTS).exists():
        raise InputError(f"{run} holds this run, finished and without a checkpoint to go on from; {_ways_out(run)}")
    return None


def begin(config: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    """Make the folder ready; rank 0 alone calls it, once nothing of the command can be refused any more.

    described: the config that goes into ``config.yaml``.
    """
    run = Path(config["run"])
    if config["overwrite"] and _holds_run(run):
        for path in [path for pattern in LEFT_BY_A_RUN for path in run.glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    save_config(run, described)
    with replacing(run / COMPOSED) as part:
        OmegaConf.save(OmegaConf.create(_own(config)), part)


def _holds_run(run: Path) -> bool:
    return any((run / name).exists() for name in (COMPOSED, CONFIG, WEIGHTS))


def _own(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in PER_CALL}


def _difference(run: Path, config: Mapping[str, Any]) -> str:
    """What the run was told otherwise, in words; empty where nothing was."""
    path = run / COMPOSED
    if not path.is_file():
        return f"it has no {COMPOSED}"
    before = _flat(OmegaConf.to_container(OmegaConf.load(path)))
    now = _flat(OmegaConf.to_container(OmegaConf.create(_own(config))))
    changed = [key for key in {**before, **now} if before.get(key, "absent") != now.get(key, "absent")]
    if not changed:
        return ""
    more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{changed[0]} was {before.get(changed[0], 'absent')} and is {now.get(changed[0], 'absent')}{more}"


def _flat(node: Any) -> dict[str, Any]:
    """Dotted names of all that a nested config sets."""
    return dict(_leaves("", node))


def _leaves(name: str, node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), value)
    else:
        yield name, node


def _ways_out(run: Path) -> str:
    return (
        f"resume={run} goes on with the new settings, overwrite=true begins anew in its place, "
        f"init={run} with another run=... begins with its weights"
    )
