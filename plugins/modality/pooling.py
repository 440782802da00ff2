"""Average pooling of a view's tokens, for adapters of many views."""

import torch.nn.functional as F
from torch import Tensor

from interleave import InputError, VisionSpec


def pooled(vision: VisionSpec, pool: int) -> int:
    """Tokens that are left of a view. Raises InputError where nothing would be."""
    if not 1 <= pool <= vision.grid:
        raise InputError(f"pool is {pool}; it must be from 1 to the {vision.grid} tokens a side of a view")
    return (vision.grid // pool) ** 2


def pool_views(features: Tensor, grid: int, pool: int) -> Tensor:
    """(V, grid * grid, D) -> (V, (grid // pool) ** 2, D)"""
    if pool == 1:
        return features
    square = features.unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
    return F.avg_pool2d(square, pool).flatten(2).transpose(1, 2)
