"""Parameters whose numbers lie in files, and are read once the model is built, frozen and sharded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

_WEIGHTS_FOLLOW: ContextVar[bool] = ContextVar("weights_follow", default=False)


def weights_follow() -> bool:
    """Whether the part that is being built gets its weights later, from files; until then they mean nothing.

    A part that has files of its own gives each parameter its place in them (``deferred``). One that runs
    itself once to check its own weights does not do so in its constructor then, but in a method ``filled()``, which is
    called when the weights are in place.
    """
    return _WEIGHTS_FOLLOW.get()


@contextmanager
def later_weights() -> Iterator[None]:
    """Inside this block ``weights_follow`` is true."""
    token = _WEIGHTS_FOLLOW.set(True)
    try:
        yield
    finally:
        _WEIGHTS_FOLLOW.reset(token)


class StoredTensor(NamedTuple):
    """Where a tensor lies.

    file: a safetensors file, or a pickled one.
    name: the tensor's in that file.
    new_rows: (n, ...) rows that follow those of the file, such as tokens that its vocabulary lacks; None for none.
    """

    file: Path
    name: str
    new_rows: Tensor | None = None


class DeferredParameter(nn.Parameter):
    """A parameter on the meta device that knows where its numbers lie, wherever its module is moved to."""

    stored: StoredTensor


def deferred(parameter: Tensor, stored: StoredTensor) -> DeferredParameter:
    """A parameter of the same shape and type, without memory, for numbers that are read later."""
    made = DeferredParameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    made.stored = stored
    return made


def deferred_places(model: nn.Module) -> dict[str, StoredTensor]:
    """Where the numbers of the model's deferred parameters lie, by the parameters' names."""
    places: dict[str, StoredTensor] = {}
    for name, parameter in model.named_parameters():
        if isinstance(parameter, DeferredParameter):
            places[name] = parameter.stored
    return places


@contextmanager
def empty_parameters() -> Iterator[None]:
    """Modules built inside have their parameters on the meta device, without memory, and their buffers as usual.

    Buffers, such as the frequencies of rotary positions, are computed when a module is built and lie in no file, which
    is why ``torch.device("meta")`` does not do.
    """
    with _registering(_register_empty):
        yield


@contextmanager
def real_parameters() -> Iterator[None]:
    """Inside ``empty_parameters``, for a part that has to read its files at once: parameters have memory again."""
    with _registering(_REGISTER):
        yield


_REGISTER = nn.Module.register_parameter


def _register_empty(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
    # one on the meta device is registered as it is, else weights that are tied would come apart
    if parameter is not None and not parameter.is_meta:
        parameter = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    _REGISTER(module, name, parameter)


@contextmanager
def _registering(function: Callable[[nn.Module, str, nn.Parameter | None], None]) -> Iterator[None]:
    """Every module registers its parameters with ``function``."""
    before = nn.Module.register_parameter
    nn.Module.register_parameter = function  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = before  # type: ignore[method-assign]
