"""Names, options and the errors that help."""

import sys
from pathlib import Path
from typing import Any

import pytest

import interleave as il
from interleave.core.options import check_option
from interleave.interfaces.registry import Registry, load_plugins


@pytest.fixture
def parts() -> Registry[Any]:
    registry: Registry[Any] = Registry("part", runtime=("grid", "llm_dim"))

    @registry.register("wheel")
    class Wheel:
        def __init__(self, size: int, spokes: int = 8, tyre: str | None = None, grid: int = 1) -> None:
            self.size, self.spokes, self.tyre, self.grid = size, spokes, tyre, grid

    return registry


def test_build_gives_options_and_what_the_assembly_knows(parts: Registry[Any]) -> None:
    wheel = parts.build({"name": "wheel", "size": "3"}, grid=5, llm_dim=7)
    assert (wheel.size, wheel.spokes, wheel.grid) == (3, 8, 5)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"name": "weel"}, "no part named 'weel'; did you mean 'wheel'? Known: wheel"),
        ({"name": "axle"}, "no part named 'axle'. Known: wheel"),
        ({"name": "wheel", "size": 1, "spoke": 2}, "part 'wheel' has no option 'spoke'; did you mean 'spokes'?"),
        ({"name": "wheel", "size": 1, "grid": 2}, "part 'wheel' has no option 'grid'"),
        ({"name": "wheel"}, "part 'wheel' needs part.wheel.size; it has no default"),
        ({"name": "wheel", "size": "big"}, "part.wheel.size is 'big': input should be a valid integer"),
    ],
)
def test_errors_name_the_thing_and_the_way_out(parts: Registry[Any], node: dict[str, Any], message: str) -> None:
    with pytest.raises(il.InputError) as error:
        parts.build(node)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_second_class_of_the_same_name_is_refused(parts: Registry[Any]) -> None:
    with pytest.raises(il.InputError, match="part 'wheel' is already"):

        @parts.register("wheel")
        class Other:
            pass


def test_a_node_comes_from_the_signature(parts: Registry[Any]) -> None:
    assert parts.node("wheel") == {"name": "wheel", "size": "???", "spokes": 8, "tyre": None}


def test_check_converts_and_names_the_place() -> None:
    assert check_option("x", "3", int) == 3
    with pytest.raises(il.InputError, match=r"^x\.1 is 'b': input should be a valid integer"):
        check_option("x", [1, "b"], list[int])


def test_plugin_files_load_once_and_name_their_faults(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text("import interleave as il\n@il.projectors.register('from_a_file')\nclass P:\n    grid = 1\n")
    bad.write_text("1 / 0\n")
    load_plugins([str(good), str(good)])
    assert "from_a_file" in list(il.projectors)
    il.projectors.forget("from_a_file")
    with pytest.raises(il.InputError, match=r"plugin '.*bad\.py' failed to load: ZeroDivisionError"):
        load_plugins([str(bad)])
    with pytest.raises(il.InputError, match=r"nowhere\.py does not exist"):
        load_plugins(["nowhere.py"])
    with pytest.raises(il.InputError, match="plugin 'no_such_module' failed to load"):
        load_plugins(["no_such_module"])


def test_names_that_the_assembly_gives_are_reserved_in_their_own_registry_alone() -> None:
    """A projector gets ``prefix`` from the vision encoder; a task may have an option of that name."""

    class Prefixed:
        def __init__(self, prefix: str = "", vision: int = 3) -> None:
            self.prefix, self.vision = prefix, vision

    il.tasks.register("prefixed_in_a_test")(Prefixed)
    il.modalities.register("prefixed_in_a_test")(Prefixed)
    try:
        assert il.tasks.node("prefixed_in_a_test") == {"name": "prefixed_in_a_test", "prefix": "", "vision": 3}
        assert vars(il.tasks.build({"name": "prefixed_in_a_test", "prefix": "Q:"})) == {"prefix": "Q:", "vision": 3}
        assert il.modalities.node("prefixed_in_a_test") == {"name": "prefixed_in_a_test", "prefix": ""}
        with pytest.raises(il.InputError, match="modality 'prefixed_in_a_test' has no option 'vision'"):
            il.modalities.build({"name": "prefixed_in_a_test", "vision": 4})
    finally:
        il.tasks.forget("prefixed_in_a_test")
        il.modalities.forget("prefixed_in_a_test")


PLAIN = '''
from interleave import tasks

@tasks.register("by_a_string")
class Plain:
    """One line. And more."""
'''
BROKEN = "from interleave import tasks\n1 / 0\n@tasks.register('broken')\nclass B: pass\n"
ODD = "import interleave as il\nNAME = 'odd'\nil.tasks.register(NAME)(type('Odd', (), {}))\n"


def test_names_are_read_from_the_source_and_classes_imported_when_they_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "a_strangers_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "plain.py").write_text(PLAIN)
    (package / "broken.py").write_text(
        "from interleave import tasks\n1 / 0\n@tasks.register('broken')\nclass B: pass\n"
    )
    (package / "odd.py").write_text(
        "import interleave as il\nNAME = 'odd'\nil.tasks.register(NAME)(type('Odd', (), {}))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    load_plugins(["a_strangers_package"])
    try:
        assert {"by_a_string", "broken", "odd"} <= set(il.tasks)
        assert "a_strangers_package.plain" not in sys.modules
        assert "a_strangers_package.odd" in sys.modules, "only running it tells what it registers"
        assert il.tasks.describe("by_a_string") == ("a_strangers_package.plain", "One line. And more.")
        assert il.tasks["by_a_string"].__module__ == "a_strangers_package.plain"
        with pytest.raises(il.InputError, match=r"plugin 'a_strangers_package\.broken' failed to load: ZeroDivision"):
            il.tasks["broken"]
    finally:
        for name in ("by_a_string", "broken", "odd"):
            il.tasks.forget(name)
