"""SigLIP through Transformers, as LLaVA-NeXT-Interleave uses it."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from interleave import VisionSpec, vision_encoders


@vision_encoders.register("siglip")
class Siglip(nn.Module):
    """Patch features of one layer, before the post-layernorm.

    path: a folder or hub name with weights; None makes random ones. config: options of ``SiglipVisionConfig``, for
    random weights. select_layer: which hidden state, counted from the end; -2 drops the last layer, as published.
    """

    def __init__(
        self, path: str | None = None, config: dict[str, Any] | None = None, select_layer: int = -2
    ) -> None:  # fmt: skip
        super().__init__()
        if path is None:
            model = SiglipVisionModel(SiglipVisionConfig(**(config or {}), vision_use_head=False))
        else:
            model = SiglipVisionModel.from_pretrained(path, **(config or {}))
        tower = getattr(model, "vision_model", model)
        self.embeddings = tower.embeddings
        layers = tower.encoder.layers
        self.layers = layers[: len(layers) + 1 + select_layer]
        shape: Any = model.config
        self.dim: int = shape.hidden_size
        self.spec = VisionSpec(shape.image_size, shape.image_size // shape.patch_size)

    def blocks(self) -> list[nn.Module]:
        return list(self.layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, P, dim)"""
        hidden: Tensor = self.embeddings(pixels)
        for layer in self.layers:
            hidden = layer(hidden, None)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return hidden


def scale_up(module: nn.Module, std: float, position_std: float) -> None:
    """Initial weights for towers so narrow that the usual 0.02 never leaves chance (docs/decisions.md)."""
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=position_std if "position_embedding" in name else std)
