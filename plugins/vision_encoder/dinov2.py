"""DINOv2 through Transformers, with or without registers."""

from typing import Any

from torch import Tensor
from transformers import Dinov2Model, Dinov2WithRegistersModel
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from interleave import vision_encoders

from ..base.hf_models import build
from .base.vision_tower import Feature, Tower

KINDS = {"dinov2": Dinov2Model, "dinov2_with_registers": Dinov2WithRegistersModel}


@vision_encoders.register("dinov2")
class Dinov2(Tower):
    """Features of one layer, before the last norm.

    path: a folder or hub name with weights; None makes random ones. config: options of ``Dinov2Config``, or, with
    ``model_type: dinov2_with_registers``, of ``Dinov2WithRegistersConfig``, for random weights. select_layer: which
    hidden state, counted from the end. feature: ``patch``, or ``cls_patch`` with the class token in front; registers
    are always left out. size: side of a view in pixels where it is not the model's own, 518 for the published ones;
    positions are interpolated.
    """

    def __init__(
        self,
        path: str | None = None,
        config: dict[str, Any] | None = None,
        select_layer: int = -2,
        feature: Feature = "patch",
        size: int | None = None,
    ) -> None:
        model = build("vision_encoder 'dinov2'", KINDS, path, config, unused=("layernorm.", "embeddings.mask_token"))
        model.embeddings.mask_token = None  # for pretraining; a parameter without a gradient would stop DDP
        colours: Any = (tuple(IMAGENET_DEFAULT_MEAN), tuple(IMAGENET_DEFAULT_STD))
        special = 1 + getattr(model.config, "num_register_tokens", 0)
        super().__init__(model, select_layer, model.config.image_size, size, colours, special=special, feature=feature)

    def embed(self, pixels: Tensor) -> Tensor:
        embedded: Tensor = self.embeddings(pixels)  # interpolates by itself
        return embedded
