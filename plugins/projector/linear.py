"""The projector of the first LLaVA."""

from torch import nn

from interleave import Projector, projectors


@projectors.register("linear")
class Linear(nn.Linear, Projector):
    """One linear layer. Keeps every token: (V, P, vision_dim) -> (V, P, llm_dim)."""

    def __init__(self, vision_dim: int, llm_dim: int, grid: int, prefix: int = 0) -> None:
        super().__init__(vision_dim, llm_dim)
        self.grid, self.prefix = grid, prefix
