"""Named components. One registry per config group; plugins fill them by decorator."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

from ..core.errors import InputError, hint
from ..core.options import check
from .plugin_source import Registration, read_source

if TYPE_CHECKING:
    from .dataset import Dataset
    from .judge import Judge
    from .model_parts import LanguageModel, ModalityAdapter, Projector, VisionEncoder
    from .task import Task

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Registry(Generic[T]):
    """A dict from name to class that explains itself when a lookup fails.

    Names are known from a package's source, or once a class is decorated; a class is imported when it is asked for.
    """

    def __init__(self, group: str, runtime: Iterable[str] = ()) -> None:
        """runtime: arguments of constructors that the assembly gives, so that no config may hold them."""
        self.group, self.runtime = group, frozenset(runtime)
        self._classes: dict[str, type[T]] = {}
        self._announced: dict[str, Registration] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """A class decorator. A second class of the same name is refused; the same class again is not."""

        def add(cls: C) -> C:
            self._refuse_second(name, cls.__module__, cls.__qualname__)
            self._classes[name] = cls
            return cls

        return add

    def announce(self, registration: Registration) -> None:
        """Make a name known whose class is imported later. Raises InputError for another class of the same name."""
        self._refuse_second(registration.name, registration.module, registration.qualname)
        self._announced[registration.name] = registration

    def _refuse_second(self, name: str, module: str, qualname: str) -> None:
        known = self._classes.get(name)
        first = self._announced.get(name)
        places = {(known.__module__, known.__qualname__)} if known else set()
        places |= {(first.module, first.qualname)} if first else set()
        for place in places - {(module, qualname)}:
            raise InputError(f"{self.group} {name!r} is already {'.'.join(place)}")

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._classes and name in self._announced:
            module = self._announced[name].module
            load(module, lambda: importlib.import_module(module))
        if name not in self._classes:
            raise InputError(f"no {self.group} named {name!r}{hint(name, self)}")
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._classes, *self._announced}))

    def describe(self, name: str) -> tuple[str, str]:
        """The module that a name comes from and the first line of what it says of itself; imports nothing."""
        if name in self._announced:
            return self._announced[name].module, self._announced[name].summary
        cls = self[name]
        return cls.__module__, (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")

    def forget(self, name: str) -> None:
        """As if it had never been registered; for tests of plugins."""
        self._classes.pop(name, None)
        self._announced.pop(name, None)

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """What a config may set: the constructor's parameters without the runtime ones."""
        parameters = inspect.signature(self[name]).parameters
        return {k: p for k, p in parameters.items() if k not in self.runtime}

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


vision_encoders: "Registry[VisionEncoder]" = Registry("vision_encoder")
projectors: "Registry[Projector]" = Registry("projector", runtime=("vision_dim", "llm_dim", "grid", "prefix"))
llms: "Registry[LanguageModel]" = Registry("llm")
modalities: "Registry[ModalityAdapter]" = Registry("modality", runtime=("vision", "llm_dim"))
datasets: "Registry[Dataset]" = Registry("dataset")
tasks: "Registry[Task]" = Registry("task")
judges: "Registry[Judge]" = Registry("judge")

GROUPS: dict[str, Registry[Any]] = {
    r.group: r for r in (vision_encoders, projectors, llms, modalities, datasets, tasks, judges)
}


def load_plugins(extra: Iterable[str] = ()) -> None:
    """Make known what every installed plugin package registers, and what ``extra`` does: files or module names.

    A package's modules are imported when one of their names is used; a file at once. Raises InputError, naming it, for
    what cannot be loaded.
    """
    for point in entry_points(group="interleave.plugins"):
        _announce_package(point.module)
    for name in extra:
        if name.endswith(".py"):
            load(name, lambda name=name: _import_file(name))  # type: ignore[misc]
        else:
            _announce_package(name)


@cache
def _announce_package(package: str) -> None:
    source = load(package, lambda: read_source(package))
    for registration in source.registrations:
        GROUPS[registration.group].announce(registration)
    for module in source.opaque:
        load(package, lambda module=module: importlib.import_module(module))  # type: ignore[misc]


def load(name: str, action: Callable[[], T]) -> T:
    """What ``action`` gives of the plugin ``name``. Raises InputError that says whose error it was."""
    try:
        return action()
    except InputError:
        raise
    except Exception as error:  # a stranger's module may raise anything; the line must say whose it is
        raise InputError(f"plugin {name!r} failed to load: {type(error).__name__}: {error}") from error


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
