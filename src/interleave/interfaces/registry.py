"""Parts by their names: one registry for each config group, which plugins fill with a decorator."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

from ..core.errors import InputError, hint
from ..core.options import Config, check_option
from .plugin_source import Registration, read_source

if TYPE_CHECKING:
    from .dataset import Dataset
    from .judge import Judge
    from .model_parts import LanguageModel, ModalityAdapter, Projector, VisionEncoder
    from .task import Task

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
C = TypeVar("C", bound=type)

REQUIRED = "???"
"""What a config holds for an option that has no default, in the notation of OmegaConf."""


class Registry(Generic[T_co]):
    """Names -> classes that fulfil the contract ``T_co``, with an error that helps where a name is unknown.

    A name is known once a class is decorated with ``register``, or once a package's source announces it; the class is
    then imported when it is first asked for. Iteration gives all names in alphabetical order.
    """

    def __init__(self, group: str, runtime: Iterable[str] = ()) -> None:
        """group: the config group, such as ``task``, for errors and for names of options.
        runtime: parameters of constructors that the assembly fills in; a config may not set them.
        """
        self.group = group
        self.runtime = frozenset(runtime)
        self._classes: dict[str, type[T_co]] = {}
        self._announced: dict[str, Registration] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """A class decorator. Raises InputError where another class has the name; the same class may come again."""

        def add(cls: C) -> C:
            self._refuse_second(name, cls.__module__, cls.__qualname__)
            self._classes[name] = cls
            return cls

        return add

    def announce(self, registration: Registration) -> None:
        """Make a name known whose class is imported later. Raises InputError where another class has the name."""
        self._refuse_second(registration.name, registration.module, registration.qualname)
        self._announced[registration.name] = registration

    def _refuse_second(self, name: str, module: str, qualname: str) -> None:
        known: set[tuple[str, str]] = set()
        if name in self._classes:
            cls = self._classes[name]
            known.add((cls.__module__, cls.__qualname__))
        if name in self._announced:
            announced = self._announced[name]
            known.add((announced.module, announced.qualname))
        for other in known - {(module, qualname)}:  # the same class may come again
            raise InputError(f"{self.group} {name!r} is already {'.'.join(other)}")

    def __getitem__(self, name: str) -> type[T_co]:
        """The class of a name, imported if need be. Raises InputError where the name is unknown or the import fails."""
        if name not in self._classes and name in self._announced:
            module = self._announced[name].module
            load_plugin(module, lambda: importlib.import_module(module))
        if name not in self._classes:
            raise InputError(f"no {self.group} named {name!r}{hint(name, self)}")
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._classes, *self._announced}))

    def describe(self, name: str) -> tuple[str, str]:
        """The module that a name comes from, and the first paragraph of its docstring on one line.

        Imports nothing for an announced name.
        """
        if name in self._announced:  # what its source says
            return self._announced[name].module, self._announced[name].summary
        cls = self[name]
        return cls.__module__, (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")

    def forget(self, name: str) -> None:
        """Remove a name, so that it can be registered anew; for tests of plugins."""
        self._classes.pop(name, None)
        self._announced.pop(name, None)

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """What a config may set: the parameters of the constructor without the runtime ones."""
        parameters = inspect.signature(self[name]).parameters
        return {option: parameter for option, parameter in parameters.items() if option not in self.runtime}

    def node(self, name: str) -> dict[str, object]:
        """The config node that a part has by its signature alone: its options with their defaults, or ``REQUIRED``."""
        node: dict[str, object] = {"name": name}
        for option, parameter in self.options(name).items():
            node[option] = REQUIRED if parameter.default is parameter.empty else parameter.default
        return node

    def build(self, config: Config, **runtime: object) -> T_co:
        """``{"name": "siglip", **options}`` -> an instance.

        runtime: what a config cannot hold; arguments that the constructor does not have are left out.

        Raises InputError for an unknown name or option, a missing one, or one of another type.
        """
        options = dict(config)  # a copy, from which the name is taken out
        name = options.pop("name")
        cls = self[name]
        self._check_names(name, options)
        annotations = get_type_hints(cls.__init__)
        arguments: dict[str, object] = {}
        for option, value in options.items():
            # an option without an annotation may be anything
            arguments[option] = check_option(f"{self.group}.{name}.{option}", value, annotations.get(option, Any))
        parameters = inspect.signature(cls).parameters  # not all constructors take all that the assembly offers
        wanted = {key: value for key, value in runtime.items() if key in parameters}
        return cls(**arguments, **wanted)

    def _check_names(self, name: str, options: Mapping[str, object]) -> None:
        """Raises InputError for an option that the constructor does not have, and for one that is missing."""
        accepted = self.options(name)
        for option in options:
            if option not in accepted:
                raise InputError(f"{self.group} {name!r} has no option {option!r}{hint(option, accepted)}")
        for option, parameter in accepted.items():
            if parameter.default is parameter.empty and options.get(option, REQUIRED) == REQUIRED:
                raise InputError(f"{self.group} {name!r} needs {self.group}.{name}.{option}; it has no default")


vision_encoders: "Registry[VisionEncoder]" = Registry("vision_encoder")
# runtime arguments of these two follow from the other parts of a model, so the assembly fills them in
projectors: "Registry[Projector]" = Registry("projector", runtime=("vision_dim", "llm_dim", "grid", "prefix"))
llms: "Registry[LanguageModel]" = Registry("llm")
modalities: "Registry[ModalityAdapter]" = Registry("modality", runtime=("vision", "llm_dim"))
datasets: "Registry[Dataset]" = Registry("dataset")
tasks: "Registry[Task]" = Registry("task")
judges: "Registry[Judge]" = Registry("judge")

_REGISTRIES: tuple[Registry[object], ...] = (
    vision_encoders, projectors, llms, modalities, datasets, tasks, judges,
)  # fmt: skip
GROUPS: Mapping[str, Registry[object]] = {registry.group: registry for registry in _REGISTRIES}
"""Config group -> its registry."""


def load_plugins(extra: Iterable[str] = ()) -> None:
    """Make known what every installed plugin package registers, and what ``extra`` does.

    extra: Python files, by names that end in ``.py``, and modules or packages.

    A file is imported at once, a module of a package when one of its names is used. Raises InputError that names the
    plugin, where one cannot be loaded.
    """
    for point in entry_points(group="interleave.plugins"):
        _announce_package(point.module)
    for name in extra:
        if name.endswith(".py"):
            load_plugin(name, partial(_import_file, name))
        else:
            _announce_package(name)


@cache  # a package is announced once in a process, however often plugins are loaded
def _announce_package(package: str) -> None:
    source = load_plugin(package, lambda: read_source(package))
    for registration in source.registrations:
        GROUPS[registration.group].announce(registration)
    for module in source.opaque:  # only importing them tells what they register
        load_plugin(package, partial(importlib.import_module, module))


def load_plugin(name: str, action: Callable[[], T]) -> T:
    """What ``action`` returns, which imports or reads the plugin ``name``.

    Raises InputError for whatever it raises, with the plugin's name in front.
    """
    try:
        return action()
    except InputError:
        raise
    except Exception as error:  # a stranger's module may raise anything; the line must say whose it is
        raise InputError(f"plugin {name!r} failed to load: {type(error).__name__}: {error}") from error


def _import_file(name: str) -> None:
    """Import a Python file, once, as module ``interleave_plugin_STEM``."""
    path = Path(name).resolve()
    if not path.is_file():
        raise InputError(f"plugin file {name} does not exist")
    module_name = f"interleave_plugin_{path.stem}"
    if getattr(sys.modules.get(module_name), "__file__", None) == str(path):
        return  # it was imported before
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before it runs, so that pickle and dataclasses find it
    spec.loader.exec_module(module)
