"""The docs name everything that a user can choose, and their links lead somewhere."""

import re

import pytest
import yaml
from small_models import ROOT

from interleave.cli import COMMANDS
from interleave.interfaces.registry import GROUPS

PAGES = {p.name: p.read_text() for p in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]}


@pytest.mark.parametrize("group", [p.name for p in (ROOT / "conf").iterdir() if p.is_dir() and p.name != "__pycache__"])
def test_every_group_and_name_stands_in_the_config_page(group: str) -> None:
    page = PAGES["config.md"]
    assert f"`{group}`" in page
    for path in (ROOT / "conf" / group).glob("*.yaml"):
        assert f"`{path.stem}`" in page, f"{group} {path.stem}"


@pytest.mark.parametrize(("group", "name"), [(g, n) for g, r in GROUPS.items() for n in r])
def test_every_option_is_explained_in_its_class_or_its_yaml(group: str, name: str) -> None:
    registry = GROUPS[group]
    if not registry[name].__module__.startswith("interleave_plugins."):
        return
    explained = (registry[name].__doc__ or "") + (ROOT / "conf" / group / f"{name}.yaml").read_text()
    for option in registry.options(name):
        assert re.search(rf"\b{option}\b", explained), f"{group} {name}: {option}"


@pytest.mark.parametrize("name", ["train", "eval"])
def test_every_setting_stands_in_the_config_page(name: str) -> None:
    settings = yaml.safe_load((ROOT / f"conf/{name}.yaml").read_text())
    settings |= settings.pop("data", {})
    for key in settings.keys() - {"defaults", "hydra"}:
        assert f"`{key}`" in PAGES["config.md"] or f"`data.{key}`" in PAGES["config.md"], key


def test_every_command_stands_in_the_readme() -> None:
    assert all(f"interleave {command}" in PAGES["README.md"] for command in COMMANDS)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)#]+)", PAGES[page]):
        assert target.startswith("http") or (folder / target).exists(), target


def test_every_page_is_in_the_index() -> None:
    for page in PAGES.keys() - {"index.md", "README.md"}:
        assert f"]({page})" in PAGES["index.md"]
        assert f"](docs/{page})" in PAGES["README.md"]


def test_every_module_stands_in_the_architecture_page() -> None:
    for path in (ROOT / "src/interleave").rglob("*.py"):
        if path.stem != "__init__":
            assert f"`{path.name}`" in PAGES["architecture.md"], path.name
