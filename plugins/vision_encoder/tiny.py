"""A vision tower that learns on a CPU in minutes."""

import torch

from interleave import vision_encoders

from .siglip import Siglip


@vision_encoders.register("tiny")
class TinyViT(Siglip):
    """A SigLIP of ``layers`` layers, all of them used, with initial weights that suit its width.

    size: side of a view in pixels.
    patch: side of a patch in pixels.
    dim: width of the features; the MLPs are four times as wide.
    layers: number of layers.
    heads: attention heads of each; they must divide ``dim``.
    std: standard deviation of the initial weights.
    position_std: that of the positions. The usual 0.02 never leaves chance in towers so narrow (docs/decisions.md).
    """

    def __init__(
        self,
        size: int = 32,
        patch: int = 8,
        dim: int = 64,
        layers: int = 2,
        heads: int = 4,
        std: float = 0.1,
        position_std: float = 0.7,
    ) -> None:
        config = {
            "image_size": size,
            "patch_size": patch,
            "hidden_size": dim,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * dim,
        }
        super().__init__(config=config, select_layer=-1)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:  # not norms and biases
                torch.nn.init.normal_(parameter, std=position_std if "position_embedding" in name else std)

    def portable(self) -> dict[str, object]:
        """Nothing: its options name no files."""
        return {}
