"""A fixed number of tokens from any number of patches."""

from math import isqrt

import torch
from torch import Tensor, nn

from interleave import InputError, Projector, projectors


@projectors.register("resampler")
class Resampler(Projector):
    """Learned queries read the patches by cross-attention, as in a Perceiver. A class token is read like a patch.

    queries: number of tokens that a view becomes, a square number.
    depth: layers of cross-attention.
    heads: attention heads of each; they must divide the language model's width.
    """

    def __init__(
        self,
        vision_dim: int,
        llm_dim: int,
        grid: int,
        prefix: int = 0,
        queries: int = 64,
        depth: int = 2,
        heads: int = 8,
    ) -> None:
        """Raises InputError for numbers that do not fit."""
        super().__init__()
        if queries < 1 or isqrt(queries) ** 2 != queries:
            near = max(1, round(queries**0.5)) if queries > 0 else 1
            raise InputError(f"projector.queries is {queries}; it must be a square number, such as {near**2}")
        if llm_dim % heads:
            raise InputError(f"projector.heads is {heads}, which does not divide the language model's width {llm_dim}")
        if depth < 1:
            raise InputError(f"projector.depth is {depth}; it needs at least one layer")
        self.grid, self.prefix = isqrt(queries), 0
        self.queries = nn.Parameter(torch.empty(queries, llm_dim))  # (Q, D)
        nn.init.normal_(self.queries, std=llm_dim**-0.5)
        self.enter = nn.Linear(vision_dim, llm_dim)
        self.layers = nn.ModuleList(_Reader(llm_dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(llm_dim)

    def forward(self, features: Tensor) -> Tensor:
        """(V, P, vision_dim), P with the class token -> (V, Q, D), as ``grid`` x ``grid`` tokens."""
        patches = self.enter(features)  # (V, P, D)
        queries = self.queries.to(patches.dtype).expand(len(patches), -1, -1)  # (V, Q, D)
        for layer in self.layers:
            queries = layer(queries, patches)
        normed: Tensor = self.norm(queries)
        return normed


class _Reader(nn.Module):
    """One layer: the queries attend to the patches and to each other, then an MLP works on each by itself."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm_queries = nn.LayerNorm(dim)
        self.norm_seen = nn.LayerNorm(dim)  # of the patches
        self.norm_mlp = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, queries: Tensor, patches: Tensor) -> Tensor:
        """(V, Q, D), (V, P, D) -> (V, Q, D)"""
        normed = self.norm_queries(queries)
        keys = torch.cat([self.norm_seen(patches), normed], 1)  # (V, P + Q, D)
        queries = queries + self.attention(normed, keys, keys, need_weights=False)[0]
        output: Tensor = queries + self.mlp(self.norm_mlp(queries))
        return output
