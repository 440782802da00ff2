"""Which names a plugin package registers, read from its source.

Importing all plugins would take seconds and need all of their libraries. A name that was read from the source can be
listed, and its module imported when it is first used.
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
"""The public name of each registry -> its config group."""


class Registration(NamedTuple):
    """A class that a module registers.

    group: the config group of its registry.
    name: what configs call it.
    module, qualname: where the class stands.
    summary: the first paragraph of its docstring, on one line.
    """

    group: str
    name: str
    module: str
    qualname: str
    summary: str


class PackageSource(NamedTuple):
    """What the source of a package says.

    registrations: all that can be read.
    opaque: modules that register something in a way that only importing them can tell.
    """

    registrations: list[Registration]
    opaque: list[str]


def read_source(package: str) -> PackageSource:
    """Find every ``@registry.register("name")`` on a class of a package or module; nothing of it is run.

    Raises what finding and parsing raises: ModuleNotFoundError, SyntaxError.
    """
    found = PackageSource([], [])
    for module, path in _modules(package):
        text = path.read_text(encoding="utf-8")
        if ".register(" not in text:  # spares parsing it
            continue
        registrations = _registrations(module, ast.parse(text, str(path)))
        if registrations is None:
            found.opaque.append(module)
        else:
            found.registrations.extend(registrations)
    if not found.registrations and not found.opaque:  # it may register under another name: import all of it
        found.opaque.extend(module for module, _ in _modules(package))
    return found


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    """Names and files of a package and of all modules below it."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}")
    if spec.submodule_search_locations is None:  # a single module
        yield package, Path(str(spec.origin))
        return
    for root in map(Path, spec.submodule_search_locations):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            below = [part for part in parts if part != "__init__"]
            yield ".".join([package, *below]), path


def _registrations(module: str, tree: ast.Module) -> list[Registration] | None:
    """What a module registers; None where a call of ``register`` decorates no class, or has no plain string."""
    found: list[Registration] = []
    understood: set[ast.expr] = set()  # those of them that are in ``found``
    calls: set[ast.expr] = set()  # every call of a ``register``, whatever it decorates
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_register(node.func):
            calls.add(node)
        if not isinstance(node, ast.ClassDef):
            continue
        summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
        for decorator in node.decorator_list:
            group_and_name = _group_and_name(decorator)
            if group_and_name is not None:
                found.append(Registration(*group_and_name, module, node.name, summary))
                understood.add(decorator)
    # one that was not understood may register any name, so the whole module has to be imported to know its names
    return found if calls == understood else None


def _is_register(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "register"


def _group_and_name(decorator: ast.expr) -> tuple[str, str] | None:
    """``@tasks.register("pope")`` or ``@interleave.tasks.register("pope")`` -> ("task", "pope"); None for others."""
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute) or not decorator.args:
        return None
    owner, name = decorator.func.value, decorator.args[0]
    registry = ""
    if isinstance(owner, ast.Attribute):
        registry = owner.attr
    elif isinstance(owner, ast.Name):
        registry = owner.id
    if not _is_register(decorator.func) or registry not in REGISTRIES:
        return None
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return None
    return REGISTRIES[registry], name.value
