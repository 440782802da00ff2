"""Which names a plugin package registers, read from its source.

A name can be listed, and its module imported when it is first used, without importing all others.
"""

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

REGISTRIES: Mapping[str, str] = {
    "vision_encoders": "vision_encoder",
    "projectors": "projector",
    "llms": "llm",
    "modalities": "modality",
    "datasets": "dataset",
    "tasks": "task",
    "judges": "judge",
}
"""The public name of each registry -> its group."""


class Registration(NamedTuple):
    """A class that a module registers. summary: the first line of its docstring."""

    group: str
    name: str
    module: str
    qualname: str
    summary: str


class Source(NamedTuple):
    """What a package's source says. opaque: modules that register in a way which only running them can tell."""

    registrations: list[Registration]
    opaque: list[str]


def read_source(package: str) -> Source:
    """Every ``@registry.register("name")`` on a class of a package or module.

    Raises what finding and parsing raises: ModuleNotFoundError, SyntaxError.
    """
    found = Source([], [])
    for module, path in _modules(package):
        text = path.read_text(encoding="utf-8")
        if ".register(" in text:
            registrations = _of_module(module, ast.parse(text, str(path)))
            if registrations is None:
                found.opaque.append(module)
            else:
                found.registrations.extend(registrations)
    if not found.registrations and not found.opaque:  # however it does it, it may register something
        found.opaque.extend(module for module, _ in _modules(package))
    return found


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    """Names and files of a package and all modules below it."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}")
    if spec.submodule_search_locations is None:
        yield package, Path(str(spec.origin))
        return
    for root in map(Path, spec.submodule_search_locations):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join([package, *(part for part in parts if part != "__init__")]), path


def _of_module(module: str, tree: ast.Module) -> list[Registration] | None:
    """None where a call of ``register`` is no decorator of a class, or its name no plain string."""
    found = []
    decorators = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
            for decorator in node.decorator_list:
                named = _group_and_name(decorator)
                if named:
                    found.append(Registration(*named, module, node.name, summary))
                    decorators.add(decorator)
    calls = {node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_register(node.func)}
    return found if calls == decorators else None


def _is_register(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "register"


def _group_and_name(decorator: ast.expr) -> tuple[str, str] | None:
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute) or not decorator.args:
        return None
    owner, name = decorator.func.value, decorator.args[0]
    registry = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    if not _is_register(decorator.func) or registry not in REGISTRIES:
        return None
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return None
    return REGISTRIES[registry], name.value
