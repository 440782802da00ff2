"""Options from a config, checked against the annotations of what takes them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, overload

from pydantic import ConfigDict, TypeAdapter, ValidationError

from .errors import InputError, hint

T = TypeVar("T")

Config = Mapping[str, Any]
"""A node of a composed config: names of options or of parts -> plain values, or nodes in turn."""


@overload
def check_option(option: str, value: object, annotation: type[T]) -> T: ...


@overload  # unions and literals, which are no classes
def check_option(option: str, value: object, annotation: Any) -> Any: ...


def check_option(option: str, value: object, annotation: Any) -> object:
    """``value`` as ``annotation`` says; numbers written as text are converted, as pydantic does by default.

    option: its name in the config, such as ``data.num_workers``, for errors.
    value: what the config holds; a mapping where ``annotation`` is a dataclass.
    annotation: a class, or any other type annotation.

    Raises InputError that names the option, what it is and what it must be.
    """
    if is_dataclass(annotation) and isinstance(value, Mapping):
        _refuse_unknown(option, value, [field.name for field in fields(annotation)])
    # pydantic takes no settings for a dataclass; elsewhere a class that it does not know is checked with isinstance
    settings = None if is_dataclass(annotation) else ConfigDict(arbitrary_types_allowed=True)
    try:
        return TypeAdapter(annotation, config=settings).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join([option, *map(str, first["loc"])])  # such as data.sources.m4.weight
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{name} is {first['input']!r}: {reason[0].lower()}{reason[1:]}") from None


def _refuse_unknown(option: str, value: Mapping[str, object], known: list[str]) -> None:
    for key in value:
        if key not in known:
            raise InputError(f"{option} has no option {key!r}{hint(str(key), known)}")
