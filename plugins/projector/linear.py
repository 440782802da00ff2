"""The projector of the first LLaVA."""

from typing import Any

from torch import nn

from interleave import projectors


@projectors.register("linear")
class Linear(nn.Linear):
    """One linear layer. Keeps every token."""

    def __init__(self, vision_dim: int, llm_dim: int, grid: int, prefix: int = 0) -> None:
        super().__init__(vision_dim, llm_dim)
        self.grid, self.prefix = grid, prefix

    def portable(self) -> dict[str, Any]:
        """Its options say everything."""
        return {}
