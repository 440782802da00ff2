"""Named components. One registry per config group; plugins fill them by decorator."""

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from .interfaces import Dataset, Judge, ModalityAdapter, Task
from .types import InputError

T = TypeVar("T")
C = TypeVar("C", bound=type)

RUNTIME = frozenset({"vision", "vision_dim", "llm_dim", "grid", "prefix"})
"""Constructor arguments that the assembly gives and no config may hold."""


class Registry(Generic[T]):
    """A dict from name to class that explains itself when a lookup fails."""

    def __init__(self, group: str) -> None:
        self.group = group
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """A class decorator. A second class of the same name is refused; the same class again is not."""

        def add(cls: C) -> C:
            known = self._classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise InputError(f"{self.group} {name!r} is already {known.__module__}.{known.__qualname__}")
            self._classes[name] = cls
            return cls

        return add

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._classes:
            raise InputError(f"no {self.group} named {name!r}{hint(name, self._classes)}")
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """What a config may set: the constructor's parameters without the runtime ones."""
        parameters = inspect.signature(self[name]).parameters
        return {k: p for k, p in parameters.items() if k not in RUNTIME}

    def node(self, name: str) -> dict[str, Any]:
        """The config node that a component has by its signature alone; ``???`` marks what has no default."""
        options = self.options(name).items()
        return {"name": name} | {k: "???" if p.default is p.empty else p.default for k, p in options}

    def build(self, config: Mapping[str, Any], **runtime: Any) -> T:
        """``{"name": "siglip", **options}`` -> an instance. ``runtime`` holds what a config cannot.

        Raises InputError for an unknown name or option, a missing one, or one of another type.
        """
        options = dict(config)
        name = options.pop("name")
        cls, accepted = self[name], self.options(name)
        for option in options:
            if option not in accepted:
                raise InputError(f"{self.group} {name!r} has no option {option!r}{hint(option, accepted)}")
        for option, parameter in accepted.items():
            if parameter.default is parameter.empty and options.get(option, "???") == "???":
                raise InputError(f"{self.group} {name!r} needs {self.group}.{name}.{option}; it has no default")
        types = get_type_hints(cls.__init__)
        checked = {k: check(f"{self.group}.{name}.{k}", v, types.get(k, Any)) for k, v in options.items()}
        takes = inspect.signature(cls).parameters
        return cls(**checked, **{k: v for k, v in runtime.items() if k in takes})


def check(option: str, value: Any, type_: Any) -> Any:
    """``value`` as ``type_``: numbers written as text are converted. Raises InputError naming the option."""
    settings = None if is_dataclass(type_) else ConfigDict(arbitrary_types_allowed=True)
    if is_dataclass(type_) and isinstance(value, Mapping):
        known = [field.name for field in fields(type_)]
        for key in value:
            if key not in known:
                raise InputError(f"{option} has no option {key!r}{hint(str(key), known)}")
    try:
        return TypeAdapter(type_, config=settings).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join([option, *map(str, first["loc"])])
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{name} is {first['input']!r}: {reason[0].lower()}{reason[1:]}") from None


def hint(name: str, known: Iterable[str]) -> str:
    """The second half of an error about a name: near matches, then all that is known."""
    close = difflib.get_close_matches(name, list(known), n=3)
    guess = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
    return f"{guess} Known: {', '.join(sorted(known)) or 'none (are the plugins loaded?)'}"


vision_encoders: Registry[Any] = Registry("vision_encoder")
projectors: Registry[Any] = Registry("projector")
llms: Registry[Any] = Registry("llm")
modalities: Registry[ModalityAdapter] = Registry("modality")
datasets: Registry[Dataset] = Registry("dataset")
tasks: Registry[Task] = Registry("task")
judges: Registry[Judge] = Registry("judge")

GROUPS: dict[str, Registry[Any]] = {
    r.group: r for r in (vision_encoders, projectors, llms, modalities, datasets, tasks, judges)
}


def load_plugins(extra: Iterable[str] = ()) -> None:
    """Import every module of every installed plugin package, and of ``extra``: files or module names."""
    for point in entry_points(group="interleave.plugins"):
        _load(point.name, lambda module=point.module: import_tree(module))  # type: ignore[misc]
    for name in extra:
        _load(name, lambda name=name: _import_file(name) if name.endswith(".py") else import_tree(name))  # type: ignore[misc]


def _load(name: str, action: Callable[[], None]) -> None:
    try:
        action()
    except InputError:
        raise
    except Exception as error:  # a stranger's module may raise anything; the line must say whose it is
        raise InputError(f"plugin {name!r} failed to load: {type(error).__name__}: {error}") from error


def import_tree(package: str) -> None:
    """Import a package and all modules below it."""
    root = importlib.import_module(package)
    for info in pkgutil.walk_packages(getattr(root, "__path__", ()), package + "."):
        importlib.import_module(info.name)


def _import_file(name: str) -> None:
    path = Path(name).resolve()
    if not path.is_file():
        raise InputError(f"plugin file {name} does not exist")
    module_name = f"interleave_plugin_{path.stem}"
    if getattr(sys.modules.get(module_name), "__file__", None) == str(path):
        return
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
