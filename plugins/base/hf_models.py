"""Models of Transformers, by path or by shape: the only place that reads their files."""

import difflib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from interleave import InputError, one_line, real_parameters, weights_follow

from .deferred_files import NotTensorByTensor, deferred_model

logger = logging.getLogger(__name__)

Options = dict[str, Any]
"""Options of a config class of Transformers, as YAML holds them."""
ModelClasses = Mapping[str, type[PreTrainedModel]]
"""Transformers' model type -> its class. The first one is built where neither files nor options name a type."""

FILE_FIELDS = {"_name_or_path", "architectures", "dtype", "id2label", "label2id", "transformers_version"}
"""Fields of a config that describe its files, not how the model is built."""
BACKBONE_FIELDS = {"out_features", "out_indices", "stage_names"}
"""Fields of a config for use inside a detector, which follow from the others."""
LEGACY_FIELDS = {"rope_theta", "rope_scaling", "torch_dtype"}
"""Fields under their names of Transformers 4, which config classes still take."""
TEXT_PART_NAMES = {r"^language_model\.model\.": "model.", r"^model\.language_model\.": "model."}
"""Where the text part of a model with pictures keeps its tensors -> where the text model alone has them."""
UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, StrictDataclassError)
"""What Transformers raises for files and options that do not fit."""


def build(
    part: str, classes: ModelClasses, path: str | None, config: Options | None, unused: tuple[str, ...] = ()
) -> PreTrainedModel:
    """A model in float32: from the files at ``path``, or with random weights in the shape ``config``.

    Where ``weights_follow`` the files are only listed: the parameters are deferred.

    part: what errors call it, the group first, such as ``llm 'qwen2'``.
    classes: the model types that this part takes.
    path: a folder or a name on the hub; None for random weights.
    config: options of the model's config class, and optionally ``model_type``; with ``path`` they change what the files
        say.
    unused: beginnings of names of tensors that the files need not have.

    Raises InputError.
    """
    options = dict(config or {})
    model_type = options.pop("model_type", None)
    if path is None:
        cls = _class_of(part, classes, model_type or next(iter(classes)), "config asks for")
        _check_option_names(part, cls, options)
        model: PreTrainedModel = cls(_config_from(part, cls, options)).float()
        return model
    cls = _class_of(part, classes, _type_of(part, path), f"{path} holds")
    _check_option_names(part, cls, options)
    return _load(part, cls, path, options, unused)


def shape_of(model: PreTrainedModel) -> Options:
    """The options of a model's config that say how it is built, its ``model_type`` among them, as plain values."""
    of_every_config = PretrainedConfig().to_dict().keys()
    kept = _option_names(type(model)) - of_every_config - FILE_FIELDS - LEGACY_FIELDS - BACKBONE_FIELDS
    kept.add("model_type")
    return {name: value for name, value in model.config.to_dict().items() if name in kept}


def read_config(part: str, path: str) -> PretrainedConfig:
    """The config at a path or name on the hub. Raises InputError where there is none."""
    if path.startswith(("/", ".", "~")) and not Path(path).exists():  # all else may be a name on the hub
        raise InputError(f"{part}: path {path} does not exist")
    try:
        config = AutoConfig.from_pretrained(path)
    except UNREADABLE as error:
        raise InputError(f"{part}: {path} holds no config of Transformers: {one_line(error)}") from None
    assert isinstance(config, PretrainedConfig)
    return config


def _type_of(part: str, path: str) -> str:
    """The model type of the files; where they hold a model of several parts, that of the part that we want."""
    config = read_config(part, path)
    group = part.split()[0]
    own = {"vision_encoder": "vision_config", "llm": "text_config"}[group]
    return str(getattr(getattr(config, own, config), "model_type", config.model_type))


def _class_of(part: str, classes: ModelClasses, model_type: str, source: str) -> type[PreTrainedModel]:
    """source: who names the type, for the error. Raises InputError where this part does not take it."""
    if model_type not in classes:
        group = part.split()[0]
        raise InputError(f"{part}: {source} a model of type {model_type!r}; this {group} takes {', '.join(classes)}")
    return classes[model_type]


def _config_class(cls: type[PreTrainedModel]) -> type[PretrainedConfig]:
    assert cls.config_class is not None, "every model that can be built has one"
    return cls.config_class


def _config_from(part: str, cls: type[PreTrainedModel], options: Options) -> PretrainedConfig:
    try:
        return _config_class(cls)(**options)
    except UNREADABLE as error:
        raise InputError(f"{part}: config does not describe a {cls.__name__}: {one_line(error)}") from None


def _check_option_names(part: str, cls: type[PreTrainedModel], options: Options) -> None:
    """Raises InputError for an unknown option, which Transformers would keep in silence."""
    known = _option_names(cls)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else f"; {_config_class(cls).__name__} lists its options"
            raise InputError(f"{part}: config has no option {name!r}{guess}")


def _option_names(cls: type[PreTrainedModel]) -> set[str]:
    config = _config_class(cls)
    return {*config().to_dict(), *config.attribute_map, *LEGACY_FIELDS, *FILE_FIELDS}


def _load(
    part: str, cls: type[PreTrainedModel], path: str, options: Options, unused: tuple[str, ...]
) -> PreTrainedModel:
    """The model in the files, which are read later where ``weights_follow``. Raises InputError where they cannot be
    read, or lack a tensor that is needed."""
    try:
        config = _config_class(cls).from_pretrained(path, **options)
        with _quiet():
            model, missing = _deferred_or_read(part, cls, path, config)
    except UNREADABLE as error:
        raise InputError(f"{part}: {path} cannot be loaded: {one_line(error)}") from None
    needed = [name for name in missing if not name.startswith(unused)]
    if needed:  # Transformers would go on with random weights and warn
        raise InputError(f"{part}: {path} lacks {needed[0]} and {len(needed) - 1} more tensors of the model")
    return model


def _deferred_or_read(
    part: str, cls: type[PreTrainedModel], path: str, config: PretrainedConfig
) -> tuple[PreTrainedModel, list[str]]:
    """The model, and the sorted names of the tensors that the files lack."""
    if weights_follow():
        try:
            return deferred_model(cls, path, config, TEXT_PART_NAMES)
        except NotTensorByTensor:
            logger.warning("%s: %s holds other tensors than the model: each process reads it as a whole", part, path)
    # Transformers annotates the model alone, though with output_loading_info a report comes with it
    with real_parameters():
        loaded: Any = cls.from_pretrained(
            path, config=config, dtype=torch.float32, output_loading_info=True, key_mapping=TEXT_PART_NAMES
        )
    model, report = loaded
    assert isinstance(model, PreTrainedModel)
    return model, sorted(report["missing_keys"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Transformers' table of what is missing or surplus: the first is checked here, the second is no fault."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
