"""Bugs that are put in on purpose still find the line that they break; ``nox -s bugs`` runs them."""

import importlib.util
from pathlib import Path

import pytest
from small_models import ROOT

_SPEC = importlib.util.spec_from_file_location("bugs", ROOT / "tests" / "mutations" / "bugs.py")
assert _SPEC is not None
assert _SPEC.loader is not None
bugs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(bugs)
HOMES = {"interleave": ROOT / "src" / "interleave", "interleave_plugins": ROOT / "plugins"}


@pytest.mark.parametrize("bug", bugs.BUGS, ids=lambda bug: bug.name)
def test_a_bug_has_one_place_and_a_test(bug: "bugs.Bug") -> None:
    package, *parts = Path(bug.file).parts
    assert HOMES[package].joinpath(*parts).read_text().count(bug.right) == 1
    assert (ROOT / "tests" / bug.tests.split("::")[0]).is_file()
