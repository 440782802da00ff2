"""Any vision backbone of timm, by its name there."""

from typing import Any

import timm
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from interleave import InputError, VisionEncoder, VisionSpec, one_line, vision_encoders

Options = dict[str, Any]
"""Arguments of ``timm.create_model``, as YAML holds them."""


@vision_encoders.register("timm")
class Timm(VisionEncoder):
    """The unpooled features of a timm ViT or convolutional net, without class or register tokens.

    model: timm's name of the backbone.
    pretrained: load the weights that timm knows for it.
    size: side of a view in pixels; None takes the model's own.
    select_layer: which block (of a ViT) or stage, counted from the end, before the last norm; None takes timm's own
        output, after it.
    options: more arguments of ``timm.create_model``. SigLIP models get ``act_layer: gelu_tanh``, with which they were
        trained; timm's own default is another GELU.
    """

    def __init__(
        self,
        model: str,
        pretrained: bool = False,
        size: int | None = None,
        select_layer: int | None = None,
        options: Options | None = None,
    ) -> None:
        super().__init__()
        arguments: Options = {"pretrained": pretrained}
        if size and "vit" in model:  # convolutional nets take views of any size
            arguments["img_size"] = size
        if "siglip" in model:
            arguments["act_layer"] = "gelu_tanh"
        self.model = _create(model, {**arguments, **(options or {})})
        self.prefix: int = getattr(self.model, "num_prefix_tokens", 0)  # class and register tokens
        self.layer = None if select_layer is None else self._prune(select_layer)
        for unused in ("head", "fc_norm", "attn_pool"):  # parameters without a gradient would stop DDP
            if hasattr(self.model, unused):
                setattr(self.model, unused, nn.Identity())
        output = self.model.feature_info[-1 if self.layer is None else self.layer]
        self.dim: int = output["num_chs"]
        data = resolve_model_data_config(self.model)
        side = size or data["input_size"][-1]
        self.spec = VisionSpec(side, side // output["reduction"], tuple(data["mean"]), tuple(data["std"]))

    def _prune(self, select_layer: int) -> int:
        """Drop the blocks after the chosen one; its number counted from the beginning. Raises InputError."""
        count = len(self.model.feature_info)
        if not -count <= select_layer <= -1:
            raise InputError(
                f"vision_encoder.select_layer is {select_layer}; it counts from the end, from -1 to -{count} here"
            )
        layer = count + select_layer
        self.model.prune_intermediate_layers([layer], prune_norm=True, prune_head=True)
        return layer

    def blocks(self) -> list[nn.Module]:
        """The blocks or stages that are used and have parameters."""
        last = None if self.layer is None else self.layer + 1
        blocks: list[nn.Module] = []
        for info in self.model.feature_info[:last]:
            block: nn.Module = self.model.get_submodule(info["module"])
            if next(block.parameters(), None) is not None:
                blocks.append(block)
        return blocks

    def portable(self) -> dict[str, object]:
        """The options that build the same shape without the files."""
        return {"pretrained": False}

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, P, D)"""
        features: Tensor  # (V, prefix + P, D), or a map
        if self.layer is None:
            features = self.model.forward_features(pixel_values)
        else:
            (features,) = self.model.forward_intermediates(
                pixel_values, indices=[self.layer], norm=False, intermediates_only=True
            )
        if features.ndim == 4:  # a map: (V, D, h, w), or of Swin and its like (V, h, w, D)
            dim_is_last = self.layer is None and getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            return features.flatten(1, 2) if dim_is_last else features.flatten(2).transpose(1, 2)
        return features[:, self.prefix :]


def _create(name: str, arguments: Options) -> Any:
    """A module of timm without its classifier. Raises InputError.

    What timm's models have in common is a convention that no type says.
    """
    try:
        model = timm.create_model(name, num_classes=0, global_pool="", **arguments)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"vision_encoder 'timm' cannot make {name}: {one_line(error)}") from None
    assert isinstance(model, nn.Module)
    return model
