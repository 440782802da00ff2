"""Who may import whom, one door for all plugins, and six names for each group."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from interleave.registry import GROUPS

LAYERS = [
    {"types", "metrics", "benchmark", "filling"},
    {"significance", "scored_file", "media", "sample", "records", "readers"},
    {"video"},
    {"interfaces", "placement"},
    {"registry", "render", "collate", "attention", "loss", "lora", "model", "mixture", "ledger"},
    {"fitting", "generate", "parallel", "preference", "optim", "module", "checkpoint", "progress"},
    {"source"},
    {"loader"},
    {"data"},
    {"build", "session"},
    {"lm"},
    {"judging", "identity", "prepared"},
    {"replies"},
    {"plan", "audit", "journal"},
    {"runner", "results"},
    {"evaluate", "proof", "periodic"},
    {"report", "score", "chat", "compose", "convert", "lmms"},
    {"survey"},
    {"run_folder"},
    {"train", "testing", "ablate"},
    {"cli"},
]
SAME = {
    ("render", "registry"), ("model", "loss"), ("module", "parallel"), ("module", "optim"), ("data", "parallel"),
    ("optim", "preference"), ("module", "preference"), ("parallel", "checkpoint"),
}  # fmt: skip
SOURCE = ROOT / "src" / "interleave"
FILES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def module_of(path: Path) -> str:
    """A package counts as one module."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Absolute module names; those of this package as ``.name``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = path.is_relative_to(SOURCE) and node.level < len(path.relative_to(SOURCE).parts)
            if node.level == 0:
                yield str(node.module)
            elif not inside:
                yield from ([f".{node.module}"] if node.module else [f".{a.name}" for a in node.names])


def level(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_arrows_never_point_up(path: Path) -> None:
    own = module_of(path)
    for name in imports(path):
        if name.startswith("."):
            below = level(name[1:]) < level(own)
            assert below or (own, name[1:]) in SAME, f"{own} imports {name[1:]}"


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_plugin_imports_only_the_public_api(path: Path) -> None:
    assert not [m for m in imports(path) if m.startswith("interleave.")]


def test_only_parallel_imports_torch_distributed() -> None:
    users = {module_of(p) for p in FILES if any(m.startswith("torch.distributed") for m in imports(p))}
    assert users == {"parallel"}


def test_only_compose_and_build_and_checkpoints_know_config_objects() -> None:
    users = {module_of(p) for p in FILES if any(m.split(".")[0] in ("hydra", "omegaconf") for m in imports(p))}
    assert users == {"compose", "build", "checkpoint", "lm", "run_folder"}


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
    folders = {p.name for p in (ROOT / "plugins").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders == set(GROUPS)


def test_the_wheel_lists_every_folder() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    roots = {"interleave": SOURCE, "interleave.conf": ROOT / "conf", "interleave_plugins": ROOT / "plugins"}
    folders = {
        ".".join([name, *path.parent.relative_to(root).parts])
        for name, root in roots.items()
        for path in root.rglob("__init__.py")
    }
    assert set(settings["packages"]) == folders


def test_the_command_line_starts_light() -> None:
    heavy = {"torch", "transformers", "lightning", "hydra"}
    for path in (SOURCE / "cli.py", SOURCE / "__init__.py"):
        top = ast.parse(path.read_text()).body
        names = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
        modules = {n.module for n in top if isinstance(n, ast.ImportFrom)}
        assert not (names | modules) & heavy
        assert not any(isinstance(n, ast.ImportFrom) and n.level for n in top)


def test_the_public_names_are_all_there() -> None:
    import interleave

    assert all(getattr(interleave, name) is not None for name in interleave.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = interleave.nothing  # type: ignore[attr-defined]
