"""Any vision backbone of timm, by its name there."""

import timm
from torch import Tensor, nn

from interleave import VisionSpec, vision_encoders


@vision_encoders.register("timm")
class Timm(nn.Module):
    """The unpooled features of a timm ViT or convolutional net.

    model: timm's name. pretrained: load the weights that timm knows for it. size: side of a view in pixels; None takes
    the model's own.
    """

    def __init__(self, model: str, pretrained: bool = False, size: int | None = None) -> None:
        super().__init__()
        extra = {"img_size": size} if size and "vit" in model else {}
        self.model = timm.create_model(model, pretrained=pretrained, num_classes=0, global_pool="", **extra)
        for unused in ("head", "fc_norm", "attn_pool"):  # parameters without a gradient would stop DDP
            if hasattr(self.model, unused):
                setattr(self.model, unused, nn.Identity())
        data = timm.data.resolve_model_data_config(self.model)
        side = size or data["input_size"][-1]
        reduction = self.model.feature_info[-1]["reduction"]
        self.dim: int = self.model.num_features
        self.spec = VisionSpec(side, side // reduction, tuple(data["mean"]), tuple(data["std"]))

    def blocks(self) -> list[nn.Module]:
        return list(getattr(self.model, "blocks", None) or getattr(self.model, "stages", ()))

    def forward(self, pixels: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, P, dim), without class or register tokens."""
        features: Tensor = self.model.forward_features(pixels)
        if features.ndim == 4:  # a convolutional net: (V, dim, h, w)
            return features.flatten(2).transpose(1, 2)
        return features[:, self.model.num_prefix_tokens :]
