"""DINOv2 through Transformers, with or without registers."""

from torch import Tensor
from transformers import Dinov2Model, Dinov2WithRegistersModel
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from interleave import vision_encoders

from ..base.hf_models import ModelClasses, Options, build
from .base.vision_tower import Feature, Tower, colour

CLASSES: ModelClasses = {"dinov2": Dinov2Model, "dinov2_with_registers": Dinov2WithRegistersModel}


@vision_encoders.register("dinov2")
class Dinov2(Tower):
    """Features of one layer, before the last norm; registers are always left out.

    path: a folder or hub name with weights; None makes random ones.
    config: options for random weights, of ``Dinov2Config`` or, with ``model_type: dinov2_with_registers``, of
        ``Dinov2WithRegistersConfig``.
    select_layer: which hidden state, counted from the end.
    feature: ``patch``, or ``cls_patch`` with the class token in front.
    size: side of a view in pixels where it is not the model's own, 518 for the published ones; positions are
        interpolated.
    """

    def __init__(
        self,
        path: str | None = None,
        config: Options | None = None,
        select_layer: int = -2,
        feature: Feature = "patch",
        size: int | None = None,
    ) -> None:
        unused = ("layernorm.", "embeddings.mask_token")
        model = build("vision_encoder 'dinov2'", CLASSES, path, config, unused)
        # for pretraining; a parameter without a gradient would stop DDP
        model.get_submodule("embeddings").register_parameter("mask_token", None)
        colours = colour(IMAGENET_DEFAULT_MEAN), colour(IMAGENET_DEFAULT_STD)
        special = 1 + getattr(model.config, "num_register_tokens", 0)  # the class token and the registers
        super().__init__(model, select_layer, size, colours=colours, special=special, feature=feature)

    def embed(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, special + P, D); DINOv2 interpolates positions without being asked."""
        embedded: Tensor = self.embeddings(pixel_values)
        return embedded
