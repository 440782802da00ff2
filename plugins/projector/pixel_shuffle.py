"""Fewer, wider tokens: neighbouring patches become one."""

from torch import Tensor

from interleave import InputError, Projector, projectors

from .mlp import MLP


@projectors.register("pixel_shuffle")
class PixelShuffle(Projector):
    """Squares of ``factor`` x ``factor`` patches are laid end to end and go through an MLP.

    A grid of g patches a side leaves g / factor tokens a side. A class token has no place in it.

    factor: patches along a side of a square; it must divide the grid.
    depth: linear layers of the MLP.
    std: standard deviation of its initial weights; None leaves torch's own initialisation.
    """

    def __init__(
        self,
        vision_dim: int,
        llm_dim: int,
        grid: int,
        prefix: int = 0,
        factor: int = 2,
        depth: int = 2,
        std: float | None = None,
    ) -> None:
        """Raises InputError where the vision encoder keeps a class token, and for a factor that does not fit."""
        super().__init__()
        if prefix:
            raise InputError(
                f"projector 'pixel_shuffle' has no place for the {prefix} tokens that the vision encoder puts before "
                "the patches; choose vision_encoder.feature=patch"
            )
        if factor < 1 or grid % factor:
            fitting = ", ".join(str(n) for n in range(2, grid + 1) if grid % n == 0) or "none"
            raise InputError(
                f"projector.factor is {factor}, which does not divide a grid of {grid} patches a side; "
                f"it would have to be one of {fitting}"
            )
        self.factor, self.grid, self.prefix = factor, grid // factor, 0
        self.mlp = MLP(vision_dim * factor**2, llm_dim, self.grid, depth=depth, std=std)

    def forward(self, features: Tensor) -> Tensor:
        """(V, (grid * factor)^2, vision_dim) -> (V, grid^2, llm_dim)"""
        side, factor = self.grid, self.factor
        # (V, rows, factor, cols, factor, vision_dim) -> (V, rows, cols, factor, factor, vision_dim)
        squares = features.unflatten(1, (side, factor, side, factor)).transpose(2, 3)
        projected: Tensor = self.mlp(squares.flatten(3).flatten(1, 2))  # (V, rows * cols, llm_dim)
        return projected
