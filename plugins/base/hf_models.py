"""Models of Transformers, by path or by shape: the only place that reads their files."""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from interleave import InputError

Kinds = Mapping[str, Any]
"""Transformers' model type -> its class. The first one is what random weights are where no type is given."""

ABOUT_FILES = {"_name_or_path", "architectures", "dtype", "id2label", "label2id", "transformers_version"}
BACKBONE = {"out_features", "out_indices", "stage_names"}
LEGACY = {"rope_theta", "rope_scaling", "torch_dtype"}
INNER = {r"^language_model\.model\.": "model.", r"^model\.language_model\.": "model."}
"""Where the text part of a model with pictures keeps its tensors -> where the text model alone has them."""
UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, StrictDataclassError)


def build(
    part: str, kinds: Kinds, path: str | None, config: Mapping[str, Any] | None, unused: tuple[str, ...] = ()
) -> Any:
    """A model in float32: of the files at ``path``, or with random weights of the shape ``config``.

    part: how errors call it. config: options of the model's config class; with ``path`` they change what the files say.
    unused: beginnings of tensor names that may be missing. Raises InputError.
    """
    wanted = dict(config or {})
    kind = wanted.pop("model_type", None)
    if path is None:
        cls = _class(part, kinds, kind or next(iter(kinds)), "config asks for")
        _check_names(part, cls, wanted)
        return cls(_shape(part, cls, wanted)).float()
    cls = _class(part, kinds, _type_of(part, path), f"{path} holds")
    _check_names(part, cls, wanted)
    return _load(part, cls, path, wanted, unused)


def shape_of(model: PreTrainedModel) -> dict[str, Any]:
    """All options of a model's config that say how it is built, as plain values."""
    said = model.config.to_dict()
    wanted = _names(type(model)) - PretrainedConfig().to_dict().keys() - ABOUT_FILES - LEGACY - BACKBONE
    return {name: value for name, value in said.items() if name in wanted or name == "model_type"}


def read_config(part: str, path: str) -> PretrainedConfig:
    """Raises InputError where there is none."""
    if path.startswith(("/", ".", "~")) and not Path(path).exists():  # all else may be a name on the hub
        raise InputError(f"{part}: path {path} does not exist")
    try:
        config = AutoConfig.from_pretrained(path)
    except UNREADABLE as error:
        raise InputError(f"{part}: {path} holds no config of Transformers: {_line(error)}") from None
    assert isinstance(config, PretrainedConfig)
    return config


def _type_of(part: str, path: str) -> str:
    """Of the part that we want, where the files hold a model of several."""
    config = read_config(part, path)
    own = {"vision_encoder": "vision_config", "llm": "text_config"}[part.split()[0]]
    return str(getattr(getattr(config, own, config), "model_type", config.model_type))


def _class(part: str, kinds: Kinds, kind: str, where: str) -> Any:
    if kind not in kinds:
        group = part.split()[0]
        raise InputError(f"{part}: {where} a model of type {kind!r}; this {group} takes {', '.join(kinds)}")
    return kinds[kind]


def _shape(part: str, cls: Any, options: Mapping[str, Any]) -> Any:
    try:
        return cls.config_class(**options)
    except UNREADABLE as error:
        raise InputError(f"{part}: config does not describe a {cls.__name__}: {_line(error)}") from None


def _check_names(part: str, cls: Any, options: Mapping[str, Any]) -> None:
    """Transformers would keep an unknown option without a word."""
    names = _names(cls)
    for name in options:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else f"; {cls.config_class.__name__} lists its options"
            raise InputError(f"{part}: config has no option {name!r}{guess}")


def _names(cls: Any) -> set[str]:
    config = cls.config_class
    return {*config().to_dict(), *config.attribute_map, *LEGACY, *ABOUT_FILES}


def _load(part: str, cls: Any, path: str, options: dict[str, Any], unused: tuple[str, ...]) -> Any:
    try:
        shape = cls.config_class.from_pretrained(path, **options)
        with _quiet():
            model, report = cls.from_pretrained(
                path, config=shape, dtype=torch.float32, output_loading_info=True, key_mapping=INNER
            )
    except UNREADABLE as error:
        raise InputError(f"{part}: {path} cannot be loaded: {_line(error)}") from None
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(unused))
    if missing:  # Transformers would go on with random weights and warn
        raise InputError(f"{part}: {path} lacks {missing[0]} and {len(missing) - 1} more tensors of the model")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Transformers' table of what is missing or surplus: the first is checked, the second is no fault."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
