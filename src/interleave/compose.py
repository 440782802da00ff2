"""Overrides -> config: the only place that talks to Hydra, and that says in one line what it would say in ten."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .core.errors import InputError, hint
from .interfaces.registry import GROUPS, load_plugins

ComposedConfig = dict[str, Any]
"""A resolved config, as plain containers."""
Action = Callable[[ComposedConfig], object]
"""What is done with a config, such as training."""

LIST_GROUPS = ("modality", "dataset", "task")
"""Groups that are chosen as lists; each member has a node of its own below the group's."""
RUN_VARIABLE = "INTERLEAVE_RUN"
"""The environment variable that tells a run's other processes its folder."""


def job_name() -> str:
    """The last part of a run's folder where none is named: the time, or the job's number in torchrun or SLURM, where
    each process would see another time. Raises InputError for several processes of a job without a number."""
    several = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1
    if not several:
        return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for variable in ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID"):
        number = os.environ.get(variable, "none")  # which torchrun says, too, where it was given no --rdzv-id
        if number != "none":
            return f"job-{number}"
    raise InputError("several processes train together and must agree on a folder: give run=..., or torchrun --rdzv-id")


OmegaConf.register_new_resolver("job", job_name, use_cache=True)  # one folder, however often the config is read


class PluginConfigs(SearchPathPlugin):
    """Adds the ``conf`` folder of every installed plugin package to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra."""
        for module in _plugin_confs():
            search_path.append(provider=module, path=f"pkg://{module}")


def _plugin_confs() -> list[str]:
    """Names of the ``conf`` packages of those plugin packages that have one."""
    modules = [f"{point.module}.conf" for point in entry_points(group="interleave.plugins")]
    return [module for module in modules if find_spec(module) is not None]


def run(name: str, arguments: Sequence[str], action: Action) -> None:
    """Compose ``conf/NAME.yaml`` with overrides and hand the config to ``action``.

    With ``--multirun`` it is called for each job; other flags of Hydra work, too. Raises InputError.
    """
    if any(argument.startswith("-") for argument in arguments):
        prepare(arguments)
        _run_hydra(name, arguments, action)
        return
    config = compose(name, arguments)
    with _run_variable(str(config.get("run", ""))):
        action(config)


@contextmanager
def _run_variable(folder: str) -> Iterator[None]:
    """Name the run's folder for the processes that Lightning starts for other devices."""
    before = os.environ.get(RUN_VARIABLE)
    os.environ[RUN_VARIABLE] = folder
    try:
        yield
    finally:
        os.environ.pop(RUN_VARIABLE)
        if before is not None:
            os.environ[RUN_VARIABLE] = before


def prepare(overrides: Sequence[str]) -> None:
    """Load the plugins, those of an override ``plugins=[...]`` too.

    A component without a YAML of its name gets a config node from its constructor's signature. Raises InputError.
    """
    Plugins.instance().register(PluginConfigs)
    load_plugins(_plugins_of(overrides))
    folders = [files(module) for module in ("interleave.conf", *_plugin_confs())]
    for group, registry in GROUPS.items():
        for name in registry:
            if not any(folder.joinpath(group, f"{name}.yaml").is_file() for folder in folders):
                package = f"{group}.{name}" if group in LIST_GROUPS else None
                ConfigStore.instance().store(group=group, name=name, node=registry.node(name), package=package)


def compose(name: str, overrides: Sequence[str]) -> ComposedConfig:
    """``conf/NAME.yaml`` with overrides, resolved. Raises InputError, in one line, for whatever is wrong with them."""
    overrides = [quoted(override) for override in overrides]
    prepare(overrides)
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_module("interleave.conf", version_base="1.3"):
            try:
                return _resolved(hydra.compose(name, list(overrides)))
            except (HydraException, OmegaConfBaseException, ValueError) as error:
                raise InputError(_explain(name, overrides, error)) from error
    finally:
        GlobalHydra.instance().clear()


def quoted(override: str) -> str:
    """``overrides=[part.option=value]`` with the quotes that Hydra wants and a shell eats; all others as they are."""
    found = re.fullmatch(r"overrides=\[([^'\"]+)\]", override)
    if not found:
        return override
    items = re.split(r",(?=[\w.]+=)", found[1])  # at commas before the next option, not at those inside a value
    return f"overrides=[{','.join(json.dumps(item) for item in items)}]"


def _run_hydra(name: str, arguments: Sequence[str], action: Action) -> None:
    """Hydra's own command line, for multirun and its other flags. An InputError in a job ends the process with 2."""

    @hydra.main(config_path="pkg://interleave.conf", config_name=name, version_base="1.3")
    def job(config: DictConfig) -> None:
        load_plugins(config.plugins)  # a launcher may run the job in a process that has none yet
        settings = HydraConfig.get()
        if settings.mode == RunMode.MULTIRUN:
            config.run = settings.runtime.output_dir  # each job has a folder of its own
        try:
            action(_resolved(config))
        except InputError as error:
            print(f"interleave: {error}", file=sys.stderr)
            sys.exit(2)

    before = sys.argv
    sys.argv = [f"interleave {name}", *arguments]  # Hydra reads them from there
    try:
        job()
    finally:
        sys.argv = before


def _resolved(config: DictConfig) -> ComposedConfig:
    """As plain containers. Raises InputError where a value that is needed is missing."""
    missing = sorted(str(key) for key in config if OmegaConf.is_missing(config, key))
    if missing:
        raise InputError(f"{missing[0]}=... is missing; it has no default")
    for key in config.get("needs", ()):
        if OmegaConf.select(config, key) is None:
            raise InputError(f"{key}=... is missing; the experiment needs it")
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    plain = {str(key): value for key, value in container.items()}
    for group in LIST_GROUPS:
        plain[group] = _chosen(group, container.get(group) or {})
    return plain


def _chosen(group: str, members: Mapping[str, ComposedConfig]) -> ComposedConfig:
    """The members of a list group that the user chose, which have a name.

    An experiment may set options of others, which then mean nothing. Raises InputError where there is no such member.
    """
    for member, node in members.items():
        if "name" not in node and member not in GROUPS[group]:
            raise InputError(f"{group} has no part {member!r}{hint(member, GROUPS[group])}")
    return {member: node for member, node in members.items() if "name" in node}


def _plugins_of(overrides: Sequence[str]) -> list[str]:
    """The plugins that an override ``plugins=...`` names."""
    for override in overrides:
        if re.match(r"\+{0,2}plugins=", override):
            value = _parse(override).value()
            return [str(plugin) for plugin in value] if isinstance(value, list) else [str(value)]
    return []


def _parse(override: str) -> Override:
    try:
        return OverridesParser.create().parse_overrides([override])[0]  # names the override in its errors
    except HydraException as error:
        raise InputError(_first_lines(error)) from error


def _explain(name: str, overrides: Sequence[str], error: Exception) -> str:
    """Hydra's error as one line, with near matches where a name was wrong."""
    of_resolver = re.match(r"InputError raised while resolving interpolation: (.*)", str(error))  # one of ours
    if of_resolver:
        return of_resolver[1]
    absent = re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", str(error))
    if absent:  # no such member of a group
        group, wanted = absent.groups()
        options = GlobalHydra.instance().config_loader().get_group_options(group)
        return f"no {group} named {wanted!r}{hint(wanted, options)}"
    unknown = re.search(r"Could not (?:override|append to|delete) '([^']+)'", str(error))
    if unknown:  # no such option
        parent, _, key = unknown[1].replace("/", ".").rpartition(".")
        known = _known_keys(name, overrides, parent)
        where = f"{parent} has no option" if parent else f"interleave {name} has no group or option"
        if not known:  # the parent is unknown, too: say what is wrong with that
            above, _, key = parent.rpartition(".")
            where = f"{above} has no part" if above else "there is no"
            known = _known_keys(name, overrides, above)
        return f"{where} {key!r}{hint(key, known)}"
    return _first_lines(error)


def _known_keys(name: str, overrides: Sequence[str], parent: str) -> list[str]:
    """What stands below ``parent`` when only the groups are composed."""
    groups = {*GROUPS, *GlobalHydra.instance().config_loader().list_groups("")}
    chosen = [override for override in overrides if override.split("=")[0].lstrip("+~/") in groups]
    try:
        config = hydra.compose(name, chosen)
        node = OmegaConf.select(config, parent) if parent else config
    except (HydraException, OmegaConfBaseException):
        return []
    return [str(key) for key in node] if isinstance(node, DictConfig) else []


def _first_lines(error: Exception) -> str:
    """The first two lines of an error, without links to Hydra's manual."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "hydra.cc" not in line]
    return "; ".join(lines[:2])
