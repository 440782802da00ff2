"""Any vision backbone of timm, by its name there."""

from typing import Any

import timm
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from interleave import InputError, VisionEncoder, VisionSpec, vision_encoders


@vision_encoders.register("timm")
class Timm(VisionEncoder):
    """The unpooled features of a timm ViT or convolutional net, without class or register tokens.

    model: timm's name. pretrained: load the weights that timm knows for it. size: side of a view in pixels; None takes
    the model's own. select_layer: which block (of a ViT) or stage, counted from the end, before the last norm; None
    takes timm's own output, after it. options: more arguments of ``timm.create_model``. SigLIP models get
    ``act_layer: gelu_tanh``, with which they were trained; timm's own default is another GELU.
    """

    def __init__(
        self,
        model: str,
        pretrained: bool = False,
        size: int | None = None,
        select_layer: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        extra: dict[str, Any] = {"img_size": size} if size and "vit" in model else {}
        if "siglip" in model:
            extra["act_layer"] = "gelu_tanh"
        self.model = _create(model, {"pretrained": pretrained, **extra, **(options or {})})
        shape: Any = self.model
        self.prefix: int = getattr(shape, "num_prefix_tokens", 0)
        self.layer = None if select_layer is None else self._prune(select_layer)
        for unused in ("head", "fc_norm", "attn_pool"):  # parameters without a gradient would stop DDP
            if hasattr(self.model, unused):
                setattr(self.model, unused, nn.Identity())
        made = shape.feature_info[-1 if self.layer is None else self.layer]
        self.dim: int = made["num_chs"]
        data = resolve_model_data_config(self.model)
        side = size or data["input_size"][-1]
        self.spec = VisionSpec(side, side // made["reduction"], tuple(data["mean"]), tuple(data["std"]))

    def _prune(self, select_layer: int) -> int:
        shape: Any = self.model
        count = len(shape.feature_info)
        if not -count <= select_layer <= -1:
            raise InputError(
                f"vision_encoder.select_layer is {select_layer}; it counts from the end, from -1 to -{count} here"
            )
        shape.prune_intermediate_layers([count + select_layer], prune_norm=True, prune_head=True)
        return count + select_layer

    def blocks(self) -> list[nn.Module]:
        shape: Any = self.model
        made = shape.feature_info if self.layer is None else shape.feature_info[: self.layer + 1]
        repeated: list[nn.Module] = [shape.get_submodule(info["module"]) for info in made]
        return [module for module in repeated if next(module.parameters(), None) is not None]

    def portable(self) -> dict[str, Any]:
        """The options that build the same shape without the files."""
        return {"pretrained": False}

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, P, dim)"""
        shape: Any = self.model
        if self.layer is None:
            features: Tensor = shape.forward_features(pixel_values)
        else:
            (features,) = shape.forward_intermediates(
                pixel_values, indices=[self.layer], norm=False, intermediates_only=True
            )
        if features.ndim == 4:  # a map: (V, dim, h, w), or of Swin and its like (V, h, w, dim)
            last = self.layer is None and getattr(shape, "output_fmt", "NCHW") == "NHWC"
            return features.flatten(1, 2) if last else features.flatten(2).transpose(1, 2)
        return features[:, self.prefix :]


def _create(name: str, options: dict[str, Any]) -> nn.Module:
    try:
        model = timm.create_model(name, num_classes=0, global_pool="", **options)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"vision_encoder 'timm' cannot make {name}: {' '.join(str(error).split())}") from None
    assert isinstance(model, nn.Module)
    return model
