"""A wandb sweep's file as overrides, so that its grid runs without wandb's server."""

from importlib.resources import files
from pathlib import Path

import yaml

from ..core.errors import InputError, hint

SWEEPS = Path(str(files("interleave.conf"))) / "sweep"


def sweep_overrides(sweep: str) -> list[str]:
    """The search of a wandb sweep as overrides for Hydra's multirun: ``option=value,value,...``.

    sweep: a file of wandb's form, or a name in ``conf/sweep``. Raises InputError where there is none, and for a search
    that is no grid.
    """
    path = Path(sweep) if Path(sweep).is_file() else SWEEPS / f"{sweep}.yaml"
    if not path.is_file():
        known = [file.stem for file in path.parent.glob("*.yaml")]
        raise InputError(f"no sweep named {sweep!r}{hint(sweep, known)}")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    overrides: list[str] = []
    for word in content.get("command", []):
        # the command has words of wandb's own, such as ${args}, and a logger for its server
        if "=" in word and "${" not in word and not word.startswith("logger="):
            overrides.append(word)
    for key, how in content["parameters"].items():
        values = how.get("values", [how["value"]] if "value" in how else None)
        if values is None:
            raise InputError(f"{path}: {key} has no values; only grids run without a wandb server")
        overrides.append(f"{key}={','.join(str(value) for value in values)}")
    return overrides
