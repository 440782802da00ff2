"""Who may import whom, one door for all plugins, and six names for each group."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from small_models import ROOT

from interleave.interfaces.registry import GROUPS

SOURCE = ROOT / "src" / "interleave"
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "media": {"core"},
    "scoring": {"core"},
    "interfaces": {"core", "media"},
    "processing": {"core", "interfaces"},
    "model": {"core", "interfaces"},
    "costs": {"core", "interfaces", "processing", "model"},
    "checkpoints": {"core", "interfaces", "model"},
    "data": {"core", "interfaces", "processing", "model"},
    "inference": {"core", "media", "interfaces", "processing", "model", "checkpoints"},
    "export": {"core", "media", "interfaces", "model", "checkpoints", "inference"},
    "evaluation": {"core", "scoring", "interfaces", "processing", "checkpoints", "inference"},
    "reports": {"core", "media", "scoring", "interfaces", "evaluation"},
    "training": {
        "core", "media", "interfaces", "processing", "model", "costs", "checkpoints", "data", "inference", "evaluation",
        "reports",
    },
    "compose": {"core", "interfaces"},
    "dataset_tools": {"core", "media", "interfaces", "processing", "model", "checkpoints", "data", "compose"},
    "ablate": {"core"},
    "launch": {"core", "compose"},
    "plan": {"core", "interfaces", "model", "costs", "checkpoints", "data", "training", "compose"},
    "plugins_command": {"interfaces"},
    "bench": {"core", "interfaces", "processing", "model", "costs", "data", "inference", "export", "training"},
    "testing": {"core", "interfaces", "processing", "model", "data", "inference"},
    "cli": {
        "core", "compose", "training", "evaluation", "scoring", "reports", "ablate", "inference", "export",
        "dataset_tools", "launch", "bench", "plan", "plugins_command",
    },
}  # fmt: skip
"""Folder or module -> those that it may import; each names only what stands above it."""
MAY_USE: dict[str, set[str]] = {
    "torch.distributed": {"core", "training"},
    "lightning": {"data", "training"},
    "hydra": {"compose", "training"},
    "wandb": {"training"},
    "omegaconf": {"compose", "checkpoints", "inference", "training"},
}
"""Package -> the folders that may import it."""
FILES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def folder_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Absolute names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module)
        elif isinstance(node, ast.ImportFrom) and path.is_relative_to(SOURCE):
            package = ("interleave", *path.relative_to(SOURCE).parts[:-1])
            home = package[: len(package) - node.level + 1]
            modules = [node.module] if node.module else [a.name for a in node.names]
            yield from (".".join([*home, module]) for module in modules)


def test_the_table_names_every_folder_and_runs_one_way() -> None:
    assert set(MAY_IMPORT) == {folder_of(path) for path in FILES}
    above: set[str] = set()
    for folder, allowed in MAY_IMPORT.items():
        assert allowed <= above, f"{folder} may import {allowed - above}, which stand below it"
        above.add(folder)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_folder_imports_what_the_table_says(path: Path) -> None:
    own = folder_of(path)
    inside = {name.split(".")[1] for name in imports(path) if name.startswith("interleave.")}
    assert inside - {own} <= MAY_IMPORT[own]


def test_a_public_name_means_one_thing() -> None:
    """A function, class or constant of a module stands in no other module, so that it can be looked for by its name."""
    homes: dict[str, set[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            named = [node] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = [one.name for one in named] + [one.id for one in targets if isinstance(one, ast.Name)]
            for name in names:
                if not name.startswith("_") and len(name) > 1 and name not in ("log", "logger"):
                    homes.setdefault(name, set()).add(str(path.relative_to(SOURCE)))
    assert not {name: places for name, places in homes.items() if len(places) > 1}


def test_the_table_allows_nothing_that_nobody_needs() -> None:
    used: dict[str, set[str]] = {folder: set() for folder in MAY_IMPORT}
    for path in FILES:
        used[folder_of(path)] |= {name.split(".")[1] for name in imports(path) if name.startswith("interleave.")}
    for folder, allowed in MAY_IMPORT.items():
        assert allowed == used[folder] - {folder}, folder


def test_the_architecture_page_has_the_same_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    for folder, allowed in MAY_IMPORT.items():
        row = next((line for line in page.splitlines() if line.startswith(f"| `{folder}")), None)
        assert row is not None, f"{folder} has no row in docs/architecture.md"
        told = {word.strip(" `") for word in row.split("|")[2].split(",")} - {"", "nothing"}
        assert told == allowed, folder


@pytest.mark.parametrize("package", MAY_USE)
def test_heavy_packages_have_their_places(package: str) -> None:
    users = {folder_of(p) for p in FILES if any(m == package or m.startswith(f"{package}.") for m in imports(p))}
    assert users == MAY_USE[package]


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_plugin_imports_only_the_public_api(path: Path) -> None:
    assert not [m for m in imports(path) if m.startswith("interleave.")]


@pytest.mark.parametrize("group", GROUPS)
def test_every_file_of_a_plugin_folder_registers_a_name(group: str) -> None:
    """Helpers stand in ``base``."""
    files = {p.stem for p in (ROOT / "plugins" / group).glob("*.py")} - {"__init__"}
    registered = {GROUPS[group].describe(name)[0].rpartition(".")[2] for name in GROUPS[group]}
    assert files <= registered


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_a_registry_a_conf_folder_and_a_plugin_folder(group: str) -> None:
    configs = {p.stem: yaml.safe_load(p.read_text()) for p in (ROOT / "conf" / group).glob("*.yaml")}
    builtin = {n for n in GROUPS[group] if GROUPS[group][n].__module__.startswith("interleave_plugins.")}
    assert set(configs) == builtin
    for name, config in configs.items():
        assert config["name"] == name
        node = GROUPS[group].node(name)
        assert {k: list(v) if isinstance(v, tuple) else v for k, v in node.items()} == config
        assert GROUPS[group][name].__module__.startswith(f"interleave_plugins.{group}.")


def test_no_plugin_folder_without_a_group() -> None:
    """Beside the groups: what several of them share, and the library of 3D scenes."""
    folders = {p.name for p in (ROOT / "plugins").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders == {*GROUPS, "base", "scenes"}


def test_the_wheel_lists_every_folder() -> None:
    """Of Python and of YAML: setuptools warns of each folder that holds files and is no package."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    roots = {"interleave": SOURCE, "interleave.conf": ROOT / "conf", "interleave_plugins": ROOT / "plugins"}
    folders = set()
    for name, root in roots.items():
        for path in [*root.rglob("__init__.py"), *root.rglob("*.yaml")]:
            folders.add(".".join([name, *path.parent.relative_to(root).parts]))
    assert set(settings["packages"]) == folders


def test_the_public_names_are_all_there() -> None:
    import interleave

    assert all(getattr(interleave, name) is not None for name in interleave.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = interleave.nothing  # type: ignore[attr-defined]
