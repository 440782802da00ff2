"""One hidden state of a vision transformer of Transformers: what all towers of that library share.

Tensors keep Transformers' names, without ``vision_model.`` and with ``layers.`` for ``encoder.layers.``.
"""

from typing import Any, Literal

from torch import Tensor, cat, nn
from transformers import PreTrainedModel

from interleave import InputError, VisionEncoder, VisionSpec

from ...base.hf_models import shape_of

Feature = Literal["patch", "cls_patch"]
Colour = tuple[float, float, float]
HALF: Colour = (0.5, 0.5, 0.5)


class Tower(VisionEncoder):
    """Embeddings and the layers that the chosen hidden state needs; later layers and the last norm are not kept.

    select_layer: which hidden state, counted from the end: -1 is what the last layer makes,
    before the norm. side: in pixels, of the views that the model was made for. size: another one, for which positions
    are interpolated. special: tokens before the patches; ``feature="cls_patch"`` keeps the first of them.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        select_layer: int,
        side: int,
        size: int | None,
        colours: tuple[Colour, Colour] = (HALF, HALF),
        special: int = 0,
        feature: Feature = "patch",
    ) -> None:
        super().__init__()
        encoder: Any = model.encoder
        layers = encoder.layer if hasattr(encoder, "layer") else encoder.layers
        count = len(layers)
        if not -count <= select_layer <= -1:
            raise InputError(
                f"vision_encoder.select_layer is {select_layer}; it counts from the end, "
                f"from -1 to -{count} with {count} layers"
            )
        shape: Any = model.config
        if size is not None and size < shape.patch_size:
            raise InputError(f"vision_encoder.size is {size}, less than one patch of {shape.patch_size} pixels")
        self.embeddings: Any = model.embeddings
        self.layers = layers[: count + 1 + select_layer]
        self.dim: int = shape.hidden_size
        self.resized = size is not None and size != side
        self.special = special
        view = size or side
        self.spec = VisionSpec(view, view // shape.patch_size, *colours, prefix=int(feature == "cls_patch"))
        self.shape = shape_of(model)

    def blocks(self) -> list[nn.Module]:
        return list(self.layers)

    def portable(self) -> dict[str, Any]:
        """The options that build the same shape without the files."""
        return {"path": None, "config": self.shape}

    def embed(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, special + P, dim)"""
        embedded: Tensor = self.embeddings(pixel_values, interpolate_pos_encoding=self.resized)
        return embedded

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, prefix + P, dim)"""
        hidden = self.embed(pixel_values)
        for layer in self.layers:
            hidden = layer(hidden, None)
        if self.special == self.spec.prefix:
            return hidden
        return cat([hidden[:, : self.spec.prefix], hidden[:, self.special :]], 1)
