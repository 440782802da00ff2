"""A vision tower that learns on a CPU in minutes."""

from interleave import vision_encoders

from .siglip import Siglip, scale_up


@vision_encoders.register("tiny")
class TinyViT(Siglip):
    """A SigLIP of ``layers`` layers, all of them used, with initial weights that suit its width."""

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
        shape = {
            "image_size": size,
            "patch_size": patch,
            "hidden_size": dim,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * dim,
        }
        super().__init__(config=shape, select_layer=-1)
        scale_up(self, std, position_std)
