"""Options from a config, checked against the annotations of what takes them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from .errors import InputError, hint


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
