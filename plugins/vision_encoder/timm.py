"""Any vision backbone of timm, by its name there."""

from typing import Any

import timm
from timm.data.config import resolve_model_data_config
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
        extra: dict[str, Any] = {"img_size": size} if size and "vit" in model else {}
        self.model = timm.create_model(model, pretrained=pretrained, num_classes=0, global_pool="", **extra)
        shape: Any = self.model
        for unused in ("head", "fc_norm", "attn_pool"):  # parameters without a gradient would stop DDP
            if hasattr(self.model, unused):
                setattr(self.model, unused, nn.Identity())
        data = resolve_model_data_config(self.model)
        side = size or data["input_size"][-1]
        self.dim: int = shape.num_features
        self.prefix: int = getattr(shape, "num_prefix_tokens", 0)
        grid = side // shape.feature_info[-1]["reduction"]
        self.spec = VisionSpec(side, grid, tuple(data["mean"]), tuple(data["std"]))

    def blocks(self) -> list[nn.Module]:
        repeated = self.model.blocks if hasattr(self.model, "blocks") else self.model.stages
        assert isinstance(repeated, nn.Module)
        return list(repeated.children())

    def forward(self, pixels: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, P, dim), without class or register tokens."""
        features: Tensor = self.model.forward_features(pixels)  # type: ignore[operator]
        if features.ndim == 4:  # a convolutional net: (V, dim, h, w)
            return features.flatten(2).transpose(1, 2)
        return features[:, self.prefix :]
