"""Config -> objects: the only place that reads a config. After this, every part is plain arguments."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core.errors import InputError
from ..core.types import VisionSpec
from ..interfaces.model_parts import ModalityAdapter
from ..interfaces.registry import llms, modalities, projectors, vision_encoders
from .interleaved_model import InterleavedModel

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Assembly:
    """A model and what the data side needs of it."""

    model: InterleavedModel
    adapters: Mapping[str, ModalityAdapter]
    """Copies without weights, for loader workers."""
    vision: VisionSpec


def assemble(config: Config) -> Assembly:
    """Vision encoder, projector, language model and adapters -> one model, at its initial weights."""
    vision = vision_encoders.build(config["vision_encoder"])
    llm = llms.build(config["llm"])
    left = {"grid": vision.spec.grid, "prefix": vision.spec.prefix}
    projector = projectors.build(config["projector"], vision_dim=vision.dim, llm_dim=llm.dim, **left)
    spec = replace(vision.spec, grid=projector.grid, prefix=projector.prefix)
    adapters = {name: modalities.build(node, vision=spec, llm_dim=llm.dim) for name, node in config["modality"].items()}
    if not adapters:
        raise InputError(f"no modality is chosen; choose modality=[...] of {', '.join(modalities)}")
    light = {name: copy.deepcopy(adapter).to("meta") for name, adapter in adapters.items()}
    return Assembly(InterleavedModel(vision, projector, llm, adapters), light, spec)
