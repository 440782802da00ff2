"""What every checkpoint layout must be able to do, and what it is given to do it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from ..core.errors import InputError
from ..core.options import Config
from ..model.interleaved_model import InterleavedModel
from .tensor_files import Tensors, TensorSpec

T = TypeVar("T")

Parts = dict[str, Any]
"""The config nodes that ``assemble`` takes, by group: vision_encoder, projector, llm, modality; runs add a few keys."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose layout is known and whose weights were listed, but not read.

    layout: how the folder is to be read.
    folder: where it lies; for a repository on the hub, its local copy.
    parts: the config nodes of the model.
    tensors: its weight files.
    names: native name of every tensor -> its name in the files.
    """

    layout: "Layout"
    folder: Path
    parts: Parts
    tensors: Tensors
    names: Mapping[str, str]


@dataclass(frozen=True)
class Export:
    """What a layout needs to describe a model that is written in it.

    model: the model on the meta device, without weights; its tokenizer is a real one.
    parts: the config nodes that it was built from, with every modality's defaults filled in.
    specs: shape and type of each stored tensor by native name, also of those that the model does not use.
    """

    model: InterleavedModel
    parts: Parts
    specs: Mapping[str, TensorSpec]

    @property
    def modalities(self) -> Mapping[str, Config]:
        """The config node of each modality by its kind."""
        nodes: Mapping[str, Config] = self.parts["modality"]
        return nodes

    @property
    def vision_model_type(self) -> str | None:
        """The ``model_type`` of a vision tower of Transformers, None for other encoders."""
        return self.model.vision_encoder.shape.get("model_type")

    @property
    def text_model_type(self) -> str | None:
        """The ``model_type`` of a language model of Transformers, None for others."""
        model = self.model.llm.transformers_model()
        return None if model is None else model.config.model_type

    @property
    def text_model(self) -> PreTrainedModel:
        """The language model of Transformers; ask only after ``refusals`` found that it is one."""
        model = self.model.llm.transformers_model()
        assert model is not None
        return model

    @property
    def num_run_layers(self) -> int:
        """Layers of the vision tower that the model runs."""
        return len(self.model.vision_encoder.blocks())

    @property
    def dtype_name(self) -> str:
        """The type of the first stored tensor, without ``torch.``: ``bfloat16``."""
        first_spec = next(iter(self.specs.values()))
        return str(first_spec.dtype).removeprefix("torch.")

    def vision_config(self) -> PretrainedConfig:
        """The vision tower's config, which counts all stored layers, also those that the model does not run."""
        matches = [re.match(r"vision_encoder\.layers\.(\d+)\.", name) for name in self.specs]
        stored_layers = [int(match[1]) for match in matches if match]
        # files may hold fewer layers than the encoder's config says: the last is often dropped; numbers begin at 0
        shape = {**self.model.vision_encoder.shape, "num_hidden_layers": max(stored_layers) + 1}
        if "vision_use_head" in shape:  # SigLIP's pooling head, which the model never runs
            shape["vision_use_head"] = any(name.startswith("vision_encoder.head.") for name in self.specs)
        return AutoConfig.for_model(**shape)


class Layout(Protocol):
    """How a model lies on disk: which files there are, and what its tensors are called in them.

    Layouts are translated into each other by way of native names, those of our own modules.
    """

    name: str

    def recognises(self, folder: Path, config: Config) -> bool:
        """Whether ``folder`` is in this layout. config: the content of its ``config.json``, empty where it has none."""

    def parts(self, folder: Path, config: Config) -> Parts:
        """The config nodes of the model in ``folder``.

        Raises InputError where its config asks for something that the program has no part for.
        """

    def to_native(self, name: str) -> str | None:
        """The native name of a tensor in a file; None for a name that the layout does not have."""

    def from_native(self, name: str, used: bool) -> str | None:
        """The name under which a native tensor is written; None for one that the layout leaves out.

        used: whether the model reads the tensor, or only keeps it for exports.
        """

    def refusals(self, export: Export) -> dict[str, str]:
        """What the layout cannot hold of a model: the name that ``--drop`` takes -> the reason. Empty if it fits."""

    def without(self, parts: Parts, drop: Sequence[str]) -> Parts:
        """A copy of ``parts`` in which the features ``drop``, names of ``refusals``, are switched off."""

    def added_tensors(self, export: Export) -> dict[str, TensorSpec]:
        """Tensors that the layout must have and the model lacks, by their names in the file.

        They are written as ones where the name ends with ``weight``, else as zeros.
        """

    def vocabulary_rows(self, export: Export) -> int:
        """Rows that embeddings and head must have at least; those that the model lacks are written as zeros."""

    def write_description(self, export: Export, folder: Path) -> None:
        """Write everything but the weights into ``folder``: config, tokenizer, processor."""


def require_supported(folder: Path, key: str, value: T, supported: Sequence[T]) -> T:
    """``value``, a setting of the folder's ``config.json``. Raises InputError where it is none of ``supported``."""
    if value not in supported:
        listed = ", ".join(map(str, supported))
        raise InputError(f"{folder / 'config.json'}: no part for {key} {value!r}; known: {listed}")
    return value
