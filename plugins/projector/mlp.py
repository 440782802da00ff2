"""LLaVA's projector."""

from torch import nn

from interleave import projectors


@projectors.register("mlp")
class MLP(nn.Sequential):
    """Linear layers with GELU between them; depth 2 is the published ``mlp2x_gelu``. Keeps every token.

    std: of the initial weights; None leaves torch's own initialisation.
    """

    def __init__(self, vision_dim: int, llm_dim: int, grid: int, depth: int = 2, std: float | None = None) -> None:
        layers: list[nn.Module] = [nn.Linear(vision_dim, llm_dim)]
        for _ in range(depth - 1):
            layers += [nn.GELU(), nn.Linear(llm_dim, llm_dim)]
        super().__init__(*layers)
        self.grid = grid
        if std is not None:
            for layer in layers:
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=std)
                    nn.init.zeros_(layer.bias)
