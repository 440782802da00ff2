"""Overrides -> config: the only place that talks to Hydra, and that says in one line what it would say in ten."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .core.errors import InputError, hint
from .interfaces.registry import GROUPS, load_plugins

LISTS = ("modality", "dataset", "task")
"""Groups that are chosen as lists; each member has a node of its own below the group's."""

FOLDER = "INTERLEAVE_RUN"
"""The environment variable that tells a run's other processes its folder."""

Action = Callable[[Mapping[str, Any]], Any]


class PluginConfigs(SearchPathPlugin):
    """Adds the ``conf`` folder of every installed plugin package to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for module in _plugin_confs():
            search_path.append(provider=module, path=f"pkg://{module}")


def _plugin_confs() -> list[str]:
    modules = [f"{point.module}.conf" for point in entry_points(group="interleave.plugins")]
    return [m for m in modules if find_spec(m) is not None]


def run(name: str, arguments: Sequence[str], action: Action) -> None:
    """Compose ``conf/NAME.yaml`` with the overrides and hand it to ``action``; ``--multirun`` does so for each job."""
    if any(a.startswith("-") for a in arguments):
        prepare(arguments)
        _run_hydra(name, arguments, action)
        return
    config = compose(name, arguments)
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(config.get("run", ""))  # for the processes that Lightning starts for other devices
    try:
        action(config)
    finally:
        os.environ.pop(FOLDER)
        if before is not None:
            os.environ[FOLDER] = before


def prepare(overrides: Sequence[str]) -> None:
    """Load the plugins, those of ``plugins=[...]`` too; a component without a YAML gets a node from its signature."""
    Plugins.instance().register(PluginConfigs)
    load_plugins(_plugins_of(overrides))
    folders = [files(module) for module in ("interleave.conf", *_plugin_confs())]
    for group, registry in GROUPS.items():
        for name in registry:
            if not any(folder.joinpath(group, f"{name}.yaml").is_file() for folder in folders):
                package = f"{group}.{name}" if group in LISTS else None
                ConfigStore.instance().store(group=group, name=name, node=registry.node(name), package=package)


def compose(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """A resolved config as plain containers. Raises InputError."""
    overrides = [quoted(override) for override in overrides]
    prepare(overrides)
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_module("interleave.conf", version_base="1.3"):
            try:
                config = hydra.compose(name, list(overrides))
                return _plain(config)
            except (HydraException, OmegaConfBaseException, ValueError) as error:
                raise InputError(_explain(name, overrides, error)) from error
    finally:
        GlobalHydra.instance().clear()


def quoted(override: str) -> str:
    """``overrides=[part.option=value]``, which Hydra's grammar takes only with quotes that a shell would eat."""
    found = re.fullmatch(r"overrides=\[([^'\"]+)\]", override)
    if not found:
        return override
    items = re.split(r",(?=[\w.]+=)", found[1])
    return f"overrides=[{','.join(json.dumps(item) for item in items)}]"


def sweep_overrides(sweep: str) -> list[str]:
    """A wandb sweep file, or a name in ``conf/sweep`` -> the same search as overrides for Hydra's multirun."""
    path = Path(sweep) if Path(sweep).is_file() else Path(str(files("interleave.conf"))) / "sweep" / f"{sweep}.yaml"
    if not path.is_file():
        known = [p.stem for p in path.parent.glob("*.yaml")]
        raise InputError(f"no sweep named {sweep!r}{hint(sweep, known)}")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    fixed = [a for a in content.get("command", []) if "=" in a and "${" not in a and not a.startswith("logger=")]
    searched = []
    for key, how in content["parameters"].items():
        values = how.get("values", [how["value"]] if "value" in how else None)
        if values is None:
            raise InputError(f"{path}: {key} has no values; only grids run without a wandb server")
        searched.append(f"{key}={','.join(str(v) for v in values)}")
    return [*fixed, *searched]


def _run_hydra(name: str, arguments: Sequence[str], action: Action) -> None:
    """Hydra's own command line, for multirun and its other flags."""

    @hydra.main(config_path="pkg://interleave.conf", config_name=name, version_base="1.3")
    def job(config: DictConfig) -> None:
        settings = HydraConfig.get()
        if settings.mode == RunMode.MULTIRUN:
            config.run = settings.runtime.output_dir
        try:
            action(_plain(config))
        except InputError as error:
            print(f"interleave: {error}", file=sys.stderr)
            sys.exit(2)

    before = sys.argv
    sys.argv = [f"interleave {name}", *arguments]
    try:
        job()
    finally:
        sys.argv = before


def _plain(config: DictConfig) -> dict[str, Any]:
    missing = sorted(str(key) for key in config if OmegaConf.is_missing(config, key))
    if missing:
        raise InputError(f"{missing[0]}=... is missing; it has no default")
    for key in config.get("needs", ()):
        if OmegaConf.select(config, key) is None:
            raise InputError(f"{key}=... is missing; the experiment needs it")
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(k): v for k, v in container.items()} | {g: _chosen(g, container.get(g) or {}) for g in LISTS}


def _chosen(group: str, members: dict[str, Any]) -> dict[str, Any]:
    """An experiment may set options of a member that the user then did not choose: that one has no name, and goes."""
    for member, node in members.items():
        if "name" not in node and member not in GROUPS[group]:
            raise InputError(f"{group} has no part {member!r}{hint(member, GROUPS[group])}")
    return {member: node for member, node in members.items() if "name" in node}


def _plugins_of(overrides: Sequence[str]) -> list[str]:
    for text in overrides:
        if re.match(r"\+{0,2}plugins=", text):
            value = _parse([text])[0].value()
            return [str(v) for v in value] if isinstance(value, list) else [str(value)]
    return []


def _parse(overrides: Sequence[str]) -> Any:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise InputError(_one_line(error)) from error


def _explain(name: str, overrides: Sequence[str], error: Exception) -> str:
    """Hydra's error as one line, with near matches where a name was wrong."""
    absent = re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", str(error))
    if absent:
        group, wanted = absent.groups()
        options = GlobalHydra.instance().config_loader().get_group_options(group)
        return f"no {group} named {wanted!r}{hint(wanted, options)}"
    unknown = re.search(r"Could not (?:override|append to|delete) '([^']+)'", str(error))
    if unknown:
        parent, _, key = unknown[1].replace("/", ".").rpartition(".")
        known = _known_keys(name, overrides, parent)
        where = f"{parent} has no option" if parent else f"interleave {name} has no group or option"
        if not known:  # the parent is unknown, too: say what is wrong with that
            above, _, part = parent.rpartition(".")
            where, key = f"{above} has no part" if above else "there is no", part
            known = _known_keys(name, overrides, above)
        return f"{where} {key!r}{hint(key, known)}"
    return _one_line(error)


def _known_keys(name: str, overrides: Sequence[str], parent: str) -> list[str]:
    """What stands below ``parent`` when only the groups are composed."""
    store = GlobalHydra.instance().config_loader()
    chosen = [o for o in overrides if o.split("=")[0].lstrip("+~/") in {*GROUPS, *store.list_groups("")}]
    try:
        node = OmegaConf.select(hydra.compose(name, chosen), parent) if parent else hydra.compose(name, chosen)
    except (HydraException, OmegaConfBaseException):
        return []
    return [str(k) for k in node] if isinstance(node, DictConfig) else []


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "hydra.cc" not in line]
    return "; ".join(lines[:2])
