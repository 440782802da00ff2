"""Config -> model: the only place that reads the nodes of a model's parts. Every part is built from plain arguments."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..core.errors import InputError
from ..core.options import Config
from ..core.types import VisionSpec
from ..interfaces.model_parts import ModalityAdapter
from ..interfaces.registry import llms, modalities, projectors, vision_encoders
from .interleaved_model import InterleavedModel


@dataclass(frozen=True)
class Assembly:
    """A model and what the data side needs of it.

    model: at its initial weights.
    adapters: copies of the model's without weights, by modality, which travel to loader workers.
    vision: what a view is, as seen from behind the projector.
    """

    model: InterleavedModel
    adapters: Mapping[str, ModalityAdapter]
    vision: VisionSpec


def assemble(config: Config) -> Assembly:
    """Build ``vision_encoder``, ``projector``, ``llm`` and every ``modality`` of a config, and the model of them.

    Raises InputError for a part or an option that there is not, and where no modality is chosen.
    """
    vision = vision_encoders.build(config["vision_encoder"])
    llm = llms.build(config["llm"])
    tokens = {"grid": vision.spec.grid, "prefix": vision.spec.prefix}  # what the encoder leaves of a view
    projector = projectors.build(config["projector"], vision_dim=vision.dim, llm_dim=llm.dim, **tokens)
    # adapters count tokens behind the projector, which may leave fewer
    spec = replace(vision.spec, grid=projector.grid, prefix=projector.prefix)
    adapters: dict[str, ModalityAdapter] = {}
    for name, node in config["modality"].items():
        adapters[name] = modalities.build(node, vision=spec, llm_dim=llm.dim)
    if not adapters:
        raise InputError(f"no modality is chosen; choose modality=[...] of {', '.join(modalities)}")
    light = {name: copy.deepcopy(adapter).to("meta") for name, adapter in adapters.items()}
    return Assembly(InterleavedModel(vision, projector, llm, adapters), light, spec)
