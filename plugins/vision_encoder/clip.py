"""CLIP through Transformers, as LLaVA-1.5 uses it."""

from typing import Any

from torch import Tensor
from transformers import CLIPVisionModel
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from interleave import vision_encoders

from ..base.hf_models import build
from .base.vision_tower import Feature, Tower


@vision_encoders.register("clip")
class Clip(Tower):
    """Features of one layer, before the post-layernorm.

    path: a folder or hub name with weights; None makes random ones. config: options of ``CLIPVisionConfig``, for
    random weights. select_layer: which hidden state, counted from the end; -2 drops the last layer, as LLaVA does.
    feature: ``patch``, or ``cls_patch`` with the class token in front. size: side of a view in pixels where it is not
    the model's own; positions are interpolated.
    """

    def __init__(
        self,
        path: str | None = None,
        config: dict[str, Any] | None = None,
        select_layer: int = -2,
        feature: Feature = "patch",
        size: int | None = None,
    ) -> None:
        kinds = {"clip_vision_model": CLIPVisionModel}
        model = build("vision_encoder 'clip'", kinds, path, config, unused=("post_layernorm.",))
        colours: Any = (tuple(OPENAI_CLIP_MEAN), tuple(OPENAI_CLIP_STD))
        super().__init__(model, select_layer, model.config.image_size, size, colours, special=1, feature=feature)
        self.pre_layrnorm = model.pre_layrnorm  # Transformers' spelling, which checkpoints have, too

    def embed(self, pixels: Tensor) -> Tensor:
        normed: Tensor = self.pre_layrnorm(super().embed(pixels))
        return normed
