"""One hidden state of a vision transformer of Transformers: what all towers of that library share.

Tensors keep Transformers' names, without ``vision_model.`` and with ``layers.`` for ``encoder.layers.``.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, cat, nn
from transformers import PreTrainedModel

from interleave import InputError, VisionEncoder, VisionSpec

from ...base.hf_models import shape_of

Feature = Literal["patch", "cls_patch"]
Colour = tuple[float, float, float]
"""A number for each of the channels red, green and blue, for pixels in 0..1."""
HALF: Colour = (0.5, 0.5, 0.5)


class Tower(VisionEncoder):
    """Embeddings and the layers that the chosen hidden state needs; later layers and the last norm are not kept."""

    def __init__(
        self,
        model: PreTrainedModel,
        select_layer: int,
        size: int | None = None,
        side: int | None = None,
        colours: tuple[Colour, Colour] = (HALF, HALF),
        special: int = 0,
        feature: Feature = "patch",
    ) -> None:
        """Take the tower out of a model of Transformers.

        select_layer: which hidden state, counted from the end: -1 is what the last layer makes, before the norm.
        size: side of the views in pixels; None takes ``side``. Where they differ, positions are interpolated.
        side: side in pixels of the views that the model was made for; None takes the config's ``image_size``.
        colours: mean and standard deviation with which pixels are normalised.
        special: number of tokens that the model puts before the patches.
        feature: ``patch``, or ``cls_patch``, which keeps the first of the special tokens.

        Raises InputError for a layer that there is not, and for a view smaller than a patch.
        """
        super().__init__()
        config = model.config
        encoder = model.get_submodule("encoder")
        layers = encoder.get_submodule("layer" if hasattr(encoder, "layer") else "layers")  # DINOv2 calls it layer
        assert isinstance(layers, nn.ModuleList)
        count = len(layers)
        if not -count <= select_layer <= -1:
            raise InputError(
                f"vision_encoder.select_layer is {select_layer}; it counts from the end, "
                f"from -1 to -{count} with {count} layers"
            )
        if size is not None and size < config.patch_size:
            raise InputError(f"vision_encoder.size is {size}, less than one patch of {config.patch_size} pixels")
        side = config.image_size if side is None else side
        self.embeddings = model.get_submodule("embeddings")
        self.layers = layers[: count + 1 + select_layer]
        self.dim: int = config.hidden_size
        self.interpolates = size is not None and size != side
        self.num_special = special
        view: int = size or side
        self.spec = VisionSpec(view, view // config.patch_size, *colours, prefix=int(feature == "cls_patch"))
        self.shape = shape_of(model)

    def blocks(self) -> list[nn.Module]:
        """The layers that are kept."""
        return list(self.layers)

    def portable(self) -> dict[str, object]:
        """The options that build the same shape without the files."""
        return {"path": None, "config": self.shape}

    def embed(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, special + P, D), with positions."""
        embedded: Tensor = self.embeddings(pixel_values, interpolate_pos_encoding=self.interpolates)
        return embedded

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) -> (V, prefix + P, D)"""
        hidden = self.embed(pixel_values)  # (V, special + P, D)
        for layer in self.layers:
            hidden = layer(hidden, None)
        prefix = self.spec.prefix
        if self.num_special == prefix:
            return hidden
        return cat([hidden[:, :prefix], hidden[:, self.num_special :]], 1)  # (V, prefix + P, D)


def colour(values: Sequence[float]) -> Colour:
    """Three numbers in a list, as Transformers has them."""
    red, green, blue = values
    return red, green, blue
