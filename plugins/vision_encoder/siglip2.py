"""SigLIP 2 through Transformers: fixed-resolution and NaFlex checkpoints, both with square views."""

from math import isqrt
from typing import Any

import torch
from torch import Tensor
from transformers import Siglip2VisionModel, SiglipVisionModel

from interleave import vision_encoders

from ..base.hf_models import build
from .base.vision_tower import Tower

KINDS = {"siglip2_vision_model": Siglip2VisionModel, "siglip_vision_model": SiglipVisionModel}


@vision_encoders.register("siglip2")
class Siglip2(Tower):
    """Patch features of one layer, before the post-layernorm.

    path: a folder or hub name with weights; None makes random ones. config: options of ``Siglip2VisionConfig``
    (NaFlex), or, with ``model_type: siglip_vision_model``, of ``SiglipVisionConfig``, which is what the checkpoints of
    one resolution are; for random weights. select_layer: which hidden state, counted from the end; -2 drops the last
    layer. size: side of a view in pixels; None takes the model's own, for NaFlex the square of its positions;
    positions are interpolated.
    """

    def __init__(
        self,
        path: str | None = None,
        config: dict[str, Any] | None = None,
        select_layer: int = -2,
        size: int | None = None,
    ) -> None:
        shape = {"vision_use_head": False, **(config or {})}
        model = build("vision_encoder 'siglip2'", KINDS, path, shape, unused=("post_layernorm.", "head."))
        self.patch: int = model.config.patch_size
        self.naflex = isinstance(model, Siglip2VisionModel)
        side = isqrt(model.config.num_patches) * self.patch if self.naflex else model.config.image_size
        super().__init__(model, select_layer, side, size)

    def embed(self, pixels: Tensor) -> Tensor:
        return self._flexible(pixels) if self.naflex else super().embed(pixels)

    def _flexible(self, pixels: Tensor) -> Tensor:
        """NaFlex wants patches, each with its colours last. All views have one shape, so positions are made once."""
        grid, patch = self.spec.grid, self.patch
        cut = pixels[:, :, : grid * patch, : grid * patch].unflatten(3, (grid, patch)).unflatten(2, (grid, patch))
        patches = cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        own = self.embeddings.position_embedding_size
        table = self.embeddings.position_embedding.weight.unflatten(0, (own, own))
        shape = torch.tensor([[grid, grid]])
        places: Tensor = self.embeddings.resize_positional_embeddings(table, shape, grid**2)
        embedded: Tensor = self.embeddings.patch_embedding(patches)
        return embedded + places
