"""LLaVA's projector."""

from torch import nn

from interleave import InputError, Projector, projectors


@projectors.register("mlp")
class MLP(nn.Sequential, Projector):
    """Linear layers with GELU between them; depth 2 is the published ``mlp2x_gelu``. Keeps every token.

    depth: number of linear layers.
    std: standard deviation of the initial weights; None leaves torch's own initialisation.
    """

    def __init__(
        self, vision_dim: int, llm_dim: int, grid: int, prefix: int = 0, depth: int = 2, std: float | None = None
    ) -> None:
        """Raises InputError for a depth below 1."""
        if depth < 1:
            raise InputError(f"projector.depth is {depth}; it needs at least one layer")
        layers: list[nn.Module] = [nn.Linear(vision_dim, llm_dim)]
        for _ in range(depth - 1):
            layers += [nn.GELU(), nn.Linear(llm_dim, llm_dim)]
        super().__init__(*layers)  # numbered 0, 2, ..., as in published checkpoints
        self.grid, self.prefix = grid, prefix
        if std is not None:
            for layer in layers:
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=std)
                    nn.init.zeros_(layer.bias)
