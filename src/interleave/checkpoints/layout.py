"""What a checkpoint layout is, and the one of our own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from transformers import AutoConfig, PreTrainedModel
from yaml import YAMLError

from ..core.errors import InputError
from ..model.interleaved_model import InterleavedModel
from .tensor_files import Shape, Tensors

PLAIN = {"poses": "none", "titles": "none"}
"""A 3D modality that shows views as pictures."""
CONFIG, TOKENIZER, UNUSED = "config.yaml", "tokenizer", "unused."

GROUPS = ("vision_encoder", "projector", "llm", "modality")
Parts = dict[str, Any]
"""The config nodes that ``build.assemble`` takes, by group."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder that was opened. names: of its tensors, native name -> the file's."""

    layout: "Layout"
    folder: Path
    parts: Parts
    tensors: Tensors
    names: Mapping[str, str]


@dataclass(frozen=True)
class Export:
    """What a layout needs to describe a model: shapes and tokenizer, no weights.

    model: a skeleton on the meta device. shapes: of all tensors by native name, those that the model does not use, too.
    """

    model: InterleavedModel
    parts: Parts
    shapes: Mapping[str, Shape]


class Layout(Protocol):
    """How a model lies on disk. Native names, those of our modules, are the common tongue between layouts."""

    name: str

    def recognises(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """By ``config.json``, empty where there is none."""

    def parts(self, folder: Path, config: Mapping[str, Any]) -> Parts:
        """Raises InputError where the layout says what the program has no part for."""

    def to_native(self, name: str) -> str | None:
        """None for a name that the layout does not have."""

    def from_native(self, name: str, used: bool) -> str | None:
        """None for what the layout leaves out. ``used``: whether the model reads the tensor."""

    def refuses(self, export: Export) -> dict[str, str]:
        """What the layout cannot hold and why, by the name that ``--drop`` takes."""

    def without(self, parts: Parts, drop: Sequence[str]) -> Parts:
        """``parts`` without what ``drop`` names of ``refuses``."""

    def added(self, export: Export) -> dict[str, Shape]:
        """Tensors by the layout's names that it wants and the model lacks: zeros, or ones where the name ends so."""

    def rows(self, export: Export) -> int:
        """Rows that embeddings and head must have; those that the model lacks become zeros."""

    def describe(self, export: Export, folder: Path) -> None:
        """Write everything but the weights."""


class Native:
    """A run's folder: ``config.yaml``, ``model.safetensors`` with the names of our modules, ``tokenizer/``.

    Tensors that the model does not read (a published tower's last norm) are kept under ``unused.``, for exports.
    """

    name = "native"

    def recognises(self, folder: Path, config: Mapping[str, Any]) -> bool:
        return (folder / CONFIG).is_file()

    def parts(self, folder: Path, config: Mapping[str, Any]) -> Parts:
        parts = load_config(folder)
        if parts["llm"].get("tokenizer") == TOKENIZER:
            parts["llm"]["tokenizer"] = str(folder / TOKENIZER)
        return parts

    def to_native(self, name: str) -> str | None:
        return name.removeprefix(UNUSED)

    def from_native(self, name: str, used: bool) -> str | None:
        return name if used else UNUSED + name

    def refuses(self, export: Export) -> dict[str, str]:
        return {}

    def without(self, parts: Parts, drop: Sequence[str]) -> Parts:
        return parts

    def added(self, export: Export) -> dict[str, Shape]:
        return {}

    def rows(self, export: Export) -> int:
        return 0

    def describe(self, export: Export, folder: Path) -> None:
        write_config(folder, export.model, export.parts)


def load_config(folder: Path) -> Parts:
    """Raises InputError where the folder is no run."""
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f"{folder} is not a run: it has no {CONFIG}; give the folder that training printed")
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    missing = [group for group in GROUPS if not isinstance(config, dict) or not isinstance(config.get(group), dict)]
    if missing:
        raise InputError(f"{path} describes no {missing[0]}; a run's config has {', '.join(GROUPS)}")
    assert isinstance(config, dict)
    return {str(k): v for k, v in config.items()}


def save_config(folder: Path, config: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(dict(config)), folder / CONFIG)


def write_config(folder: Path, model: InterleavedModel, config: Mapping[str, Any]) -> None:
    """The config by which the model can be built again from this folder alone, and its tokenizer."""
    own = dict(config)
    for group in ("vision_encoder", "projector", "llm"):
        own[group] = {**config[group], **getattr(model, group).portable()}
    if config["llm"].get("tokenizer") or config["llm"].get("path"):
        model.llm.tokenizer.save(folder / TOKENIZER)
        own["llm"]["tokenizer"] = TOKENIZER
    save_config(folder, own)


def known(folder: Path, key: str, value: Any, known: Sequence[Any]) -> Any:
    """``value``, where there is a part for it."""
    if value not in known:
        raise InputError(f"{folder / 'config.json'}: no part for {key} {value!r}; known: {', '.join(map(str, known))}")
    return value


def tower(encoder: Any) -> str | None:
    """The model type of a vision tower of Transformers, None for others."""
    shape: dict[str, Any] = getattr(encoder, "shape", {})
    return shape.get("model_type")


def text_type(llm: Any) -> str | None:
    """The model type of a language model of Transformers, None for others."""
    found: str | None = getattr(getattr(getattr(llm, "model", None), "config", None), "model_type", None)
    return found


def posed(kinds: Mapping[str, Any]) -> dict[str, str]:
    """What no published layout holds of cameras."""
    said = {option: kinds.get("scene3d", {}).get(option, "none") for option in PLAIN}
    reasons = {
        "poses": f"it has no weights for scene3d.poses={said['poses']}",
        "titles": "it writes no position before a view",
    }
    return {option: reasons[option] for option, value in said.items() if value != "none"}


def unposed(scene: Mapping[str, Any], drop: Sequence[str]) -> dict[str, Any]:
    """The 3D modality's node without what ``drop`` names of cameras."""
    return {**scene, **{option: value for option, value in PLAIN.items() if option in drop}}


def text_model(export: Export) -> PreTrainedModel:
    """The language model of Transformers that the export holds, which ``refuses`` has asked for."""
    model = export.model.llm.transformers_model()
    assert model is not None
    return model


def picture_fits(kinds: Mapping[str, Any]) -> list[str]:
    """How the modalities make squares of pictures, each way once. Frames of a video are no pictures here: the released
    code resizes them directly, whatever ``image_aspect_ratio`` says."""
    return list(dict.fromkeys(node.get("fit", "square") for kind, node in kinds.items() if kind != "video"))


def misfits(kinds: Mapping[str, Any]) -> dict[str, str]:
    """What a layout with one setting for all pictures cannot hold of ``fit``."""
    if len(picture_fits(kinds)) > 1:
        return {"fit": "one setting serves all pictures, and the modalities differ in fit"}
    if kinds.get("video", {}).get("fit", "square") != "square":
        return {"fit": "it never pads the frames of a video"}
    return {}


def used_layers(export: Export) -> int:
    """Layers of the vision tower that the model runs."""
    return len(export.model.vision_encoder.blocks())


def vision_config(export: Export) -> Any:
    """The tower's config with as many layers as are stored, those that the model does not run, too."""
    stored = [int(m[1]) for name in export.shapes if (m := re.match(r"vision_encoder\.layers\.(\d+)\.", name))]
    shape = {**export.model.vision_encoder.shape, "num_hidden_layers": max(stored) + 1}
    if "vision_use_head" in shape:
        shape["vision_use_head"] = any(name.startswith("vision_encoder.head.") for name in export.shapes)
    return AutoConfig.for_model(**shape)
