"""SigLIP through Transformers, as LLaVA-NeXT-Interleave uses it."""

from transformers import SiglipVisionModel

from interleave import vision_encoders

from ..base.hf_models import Options, build
from .base.vision_tower import Tower


@vision_encoders.register("siglip")
class Siglip(Tower):
    """Patch features of one layer, before the post-layernorm.

    path: a folder or hub name with weights; None makes random ones.
    config: options of ``SiglipVisionConfig``, for random weights.
    select_layer: which hidden state, counted from the end; -2 drops the last layer, as published.
    size: side of a view in pixels where it is not the model's own; positions are interpolated.
    """

    def __init__(
        self,
        path: str | None = None,
        config: Options | None = None,
        select_layer: int = -2,
        size: int | None = None,
    ) -> None:
        classes = {"siglip_vision_model": SiglipVisionModel}
        options = {"vision_use_head": False, **(config or {})}  # the pooling head has no use here
        model = build("vision_encoder 'siglip'", classes, path, options, unused=("post_layernorm.", "head."))
        super().__init__(model, select_layer, size)
