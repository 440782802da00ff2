"""Models of Transformers whose safetensors files are read later: which tensor of which file each parameter is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file, get_checkpoint_shard_files

from interleave import DeferredParameter, StoredTensor, deferred, empty_parameters


class NotTensorByTensor(Exception):
    """The files do not hold each parameter as it is in the model: Transformers has to read them as a whole."""


def deferred_model(
    cls: type[PreTrainedModel], path: str, config: PretrainedConfig, renamed: Mapping[str, str]
) -> tuple[PreTrainedModel, list[str]]:
    """The model with parameters that know where their numbers lie, and the names of those that no file holds.

    renamed: patterns of names in the files -> what stands there instead, before Transformers' own renaming.
    Raises NotTensorByTensor for files that are no safetensors, for tensors that Transformers joins, cuts or permutes,
    and for those whose shape is not the model's.
    """
    config.dtype = torch.float32
    with empty_parameters():
        model = cls(config)
    model.tie_weights()
    places = _places(model, safetensors_files(path), renamed)
    names_of: dict[nn.Parameter, list[str]] = {}  # a tied weight has several; parameters are equal only to themselves
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names_of.setdefault(parameter, []).append(name)
    missing: list[str] = []
    for parameter, names in names_of.items():
        stored = [places[name] for name in names if name in places]
        if len(stored) > 1:  # Transformers ties them only if they are equal
            raise NotTensorByTensor
        if not stored:
            missing += names[:1]
        for name in names if stored else ():
            module, _, own_name = name.rpartition(".")
            setattr(model.get_submodule(module), own_name, deferred(parameter, stored[0]))
    model.tie_weights()
    return model.eval(), sorted(missing)  # eval: as Transformers hands over what it has read


def safetensors_files(path: str) -> list[Path]:
    """The weight files of a folder or of a repository on the hub. Raises NotTensorByTensor where it has no
    safetensors."""
    optional = {"_raise_exceptions_for_missing_entries": False}
    whole = cached_file(path, SAFE_WEIGHTS_NAME, **optional)
    if whole:
        return [Path(whole)]
    index = cached_file(path, SAFE_WEIGHTS_INDEX_NAME, **optional)
    if not index:
        raise NotTensorByTensor
    shards, _ = get_checkpoint_shard_files(path, index)
    return [Path(shard) for shard in shards]


def _places(model: PreTrainedModel, files: Sequence[Path], renamed: Mapping[str, str]) -> dict[str, StoredTensor]:
    """Where the tensors of ``model`` lie, by its own names. Raises NotTensorByTensor."""
    expected = model.state_dict()
    transforms = get_model_conversion_mapping(model, dict(renamed))
    renamings = [one for one in transforms if isinstance(one, WeightRenaming)]
    converters = [one for one in transforms if isinstance(one, WeightConverter)]
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    places: dict[str, StoredTensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for stored in opened.keys():  # noqa: SIM118, it is no mapping
                name, joined = rename_source_key(stored, renamings, converters, model.base_model_prefix, expected)
                if joined is not None:
                    raise NotTensorByTensor
                if name not in expected:
                    continue
                as_stored = tuple(opened.get_slice(stored).get_shape()) == tuple(expected[name].shape)
                if name not in parameters or not as_stored:  # a buffer, or what is an error of Transformers
                    raise NotTensorByTensor
                places[name] = StoredTensor(file, stored)
    return places


def grow_vocabulary(model: PreTrainedModel, num_tokens: int) -> None:
    """Give embeddings and head rows for ``num_tokens`` tokens; new rows are random, as those of a new model are.

    Of a deferred parameter only the new rows are drawn, and kept with its place.
    """
    before = [(table.weight, len(table.weight)) for table in _vocabulary(model)]
    model.resize_token_embeddings(num_tokens, mean_resizing=False)
    for table, (weight, num_rows) in zip(_vocabulary(model), before, strict=True):
        if isinstance(weight, DeferredParameter):
            new_rows = torch.empty(num_tokens - num_rows, weight.shape[1])  # (n, D)
            new_rows.normal_(std=getattr(model.config, "initializer_range", 0.02))
            table.weight = deferred(table.weight, weight.stored._replace(new_rows=new_rows))
    model.tie_weights()


def _vocabulary(model: PreTrainedModel) -> list[nn.Embedding | nn.Linear]:
    """The modules that have a row for each token: embeddings, and the head where it has a weight of its own."""
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert isinstance(table, nn.Embedding)
    is_own = isinstance(head, nn.Linear) and head.weight is not table.weight
    return [table, head] if is_own else [table]
