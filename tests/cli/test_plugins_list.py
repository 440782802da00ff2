"""``interleave plugins list``: a table for each group that is easy to read at 80 columns."""

from pathlib import Path

import pytest

import interleave as il
from interleave.cli import main
from interleave.interfaces.registry import GROUPS
from interleave.plugins_command import common_package, first_sentence


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_every_name_of_every_group_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    for group, registry in GROUPS.items():
        assert any(line.startswith(f"{group}, from interleave_plugins.{group}") for line in lines)
        for name in registry:
            assert any(line.startswith(f" {name} ") for line in lines), name


def test_a_module_stands_without_the_package_that_the_title_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "list", "--group", "projector"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("interleave_plugins") == 1
    row = next(line for line in shown.splitlines() if line.startswith(" linear "))
    assert row.split() == ["linear", "One", "linear", "layer.", "linear"], "of two sentences the first"


def test_a_plugin_of_ones_own_keeps_the_whole_name_of_its_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "listed.py"
    path.write_text('from interleave import projectors\n\n\n@projectors.register("listed_in_a_test")\nclass Listed:\n'
                    '    """It is listed. It does nothing."""\n')  # fmt: skip
    try:
        assert main(["plugins", "list", str(path), "--group", "projector"]) == 0
    finally:
        il.projectors.forget("listed_in_a_test")
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith(" listed_in_a_test "))
    assert row.split() == ["listed_in_a_test", "It", "is", "listed.", "interleave_plugin_listed"]


def test_the_package_is_that_of_most_modules() -> None:
    assert common_package(["a.b.c", "x.y", "a.b.d"]) == "a.b"
    assert common_package(["a.b", "c.d"]) == ""
    assert common_package([]) == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One layer. Keeps every token.", "One layer."),
        ("Takes 0.5 of it, e.g. this", "Takes 0.5 of it, e.g. this"),
        ("Rows: some. ``options`` too.", "Rows: some."),
        ("", ""),
    ],
)
def test_of_a_summary_the_first_sentence_is_shown(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence
