"""SigLIP 2 through Transformers: fixed-resolution and NaFlex checkpoints, both with square views."""

from math import isqrt
from typing import Any

import torch
from torch import Tensor
from transformers import Siglip2VisionModel, SiglipVisionModel

from interleave import vision_encoders

from ..base.hf_models import ModelClasses, Options, build
from .base.vision_tower import Tower

CLASSES: ModelClasses = {"siglip2_vision_model": Siglip2VisionModel, "siglip_vision_model": SiglipVisionModel}


@vision_encoders.register("siglip2")
class Siglip2(Tower):
    """Patch features of one layer, before the post-layernorm.

    path: a folder or hub name with weights; None makes random ones.
    config: options for random weights, of ``Siglip2VisionConfig`` (NaFlex) or, with
        ``model_type: siglip_vision_model``, of ``SiglipVisionConfig``, which is what the checkpoints of one resolution
        are.
    select_layer: which hidden state, counted from the end; -2 drops the last layer.
    size: side of a view in pixels; None takes the model's own, for NaFlex the square of its positions. Positions are
        interpolated.
    """

    def __init__(
        self,
        path: str | None = None,
        config: Options | None = None,
        select_layer: int = -2,
        size: int | None = None,
    ) -> None:
        options = {"vision_use_head": False, **(config or {})}  # the pooling head has no use here
        unused = ("post_layernorm.", "head.")
        model = build("vision_encoder 'siglip2'", CLASSES, path, options, unused)
        self.patch: int = model.config.patch_size
        self.is_naflex = isinstance(model, Siglip2VisionModel)
        side = isqrt(model.config.num_patches) * self.patch if self.is_naflex else None
        super().__init__(model, select_layer, size, side)

    def embed(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, P, D), with positions."""
        return self._embed_patches(pixel_values) if self.is_naflex else super().embed(pixel_values)

    def _embed_patches(self, pixel_values: Tensor) -> Tensor:
        """As ``Siglip2VisionEmbeddings``, which takes views of different shapes; here they have one, so positions are
        made once."""
        grid, patch = self.spec.grid, self.patch
        embeddings: Any = self.embeddings  # Siglip2VisionEmbeddings
        whole = pixel_values[:, :, : grid * patch, : grid * patch]  # a rest at the right and below is left out
        cut = whole.unflatten(3, (grid, patch)).unflatten(2, (grid, patch))  # (V, 3, rows, patch, cols, patch)
        # NaFlex was trained on patches with their colours last
        patches = cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # (V, P, patch * patch * 3)
        side = embeddings.position_embedding_size
        table = embeddings.position_embedding.weight.unflatten(0, (side, side))  # (side, side, D)
        shapes = torch.tensor([[grid, grid]])  # (1, 2)
        positions: Tensor = embeddings.resize_positional_embeddings(table, shapes, grid**2)  # (1, P, D)
        embedded: Tensor = embeddings.patch_embedding(patches)  # (V, P, D)
        return embedded + positions
