"""Names, options and the errors that help."""

from pathlib import Path
from typing import Any

import pytest

import interleave as il
from interleave.core.options import check
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
    assert check("x", "3", int) == 3
    with pytest.raises(il.InputError, match=r"^x\.1 is 'b': input should be a valid integer"):
        check("x", [1, "b"], list[int])


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
