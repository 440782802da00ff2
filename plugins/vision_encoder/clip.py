"""CLIP through Transformers, as LLaVA-1.5 uses it."""

from torch import Tensor
from transformers import CLIPVisionModel
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from interleave import vision_encoders

from ..base.hf_models import Options, build
from .base.vision_tower import Feature, Tower, colour


@vision_encoders.register("clip")
class Clip(Tower):
    """Features of one layer, before the post-layernorm.

    path: a folder or hub name with weights; None makes random ones.
    config: options of ``CLIPVisionConfig``, for random weights.
    select_layer: which hidden state, counted from the end; -2 drops the last layer, as LLaVA does.
    feature: ``patch``, or ``cls_patch`` with the class token in front.
    size: side of a view in pixels where it is not the model's own; positions are interpolated.
    """

    def __init__(
        self,
        path: str | None = None,
        config: Options | None = None,
        select_layer: int = -2,
        feature: Feature = "patch",
        size: int | None = None,
    ) -> None:
        classes = {"clip_vision_model": CLIPVisionModel}
        model = build("vision_encoder 'clip'", classes, path, config, unused=("post_layernorm.",))
        colours = colour(OPENAI_CLIP_MEAN), colour(OPENAI_CLIP_STD)
        super().__init__(model, select_layer, size, colours=colours, special=1, feature=feature)
        self.pre_layrnorm = model.get_submodule("pre_layrnorm")  # Transformers' spelling, which checkpoints have, too

    def embed(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, 1 + P, D), normed as CLIP does before its first layer."""
        normed: Tensor = self.pre_layrnorm(super().embed(pixel_values))
        return normed
