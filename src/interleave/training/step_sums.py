"""What losses and logged means are made of: sums, which add up over micro-batches and ranks before they are divided."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.collectives import all_reduce_sum


@dataclass(frozen=True)
class StepSums:
    """Sums over a batch, or over all batches of a step; scalar float tensors on one device.

    loss: the sum of losses. Only it carries a gradient.
    count: the number of units that the loss is divided by: supervised tokens, or pairs and ordinary documents in DPO.
    margin: the sum of the pairs' reward margins; 0 outside DPO, as are the next two.
    won: the number of pairs whose chosen reply has gained more than its rejected one.
    pairs: the number of preference pairs.
    """

    loss: Tensor
    count: Tensor
    margin: Tensor
    won: Tensor
    pairs: Tensor

    @classmethod
    def of_tokens(cls, loss: Tensor, count: Tensor) -> "StepSums":
        """Sums without pairs, from the loss of a batch's tokens and their number."""
        zero = torch.zeros((), device=loss.device)  # there are no pairs
        return cls(loss.float(), count.float(), zero, zero, zero)

    @classmethod
    def zero(cls, device: torch.device | str = "cpu") -> "StepSums":
        """The sums over nothing."""
        return cls(*torch.zeros(5, device=device))  # iterating over (5,) gives five scalars

    def __add__(self, other: "StepSums") -> "StepSums":
        return StepSums(*(self._stacked() + other._stacked()))

    def detach(self) -> "StepSums":
        """The same numbers without the loss's gradient."""
        return StepSums(*self._stacked().detach())

    def to(self, device: torch.device) -> "StepSums":
        return StepSums(*self._stacked().to(device))

    def all_reduce(self) -> "StepSums":
        """The sums over all ranks, on every rank: one collective, which each rank must call."""
        return StepSums(*all_reduce_sum(self._stacked()))

    def mean_loss(self) -> Tensor:
        """The loss of one unit; 0 over nothing."""
        return self.loss / self.count.clamp(min=1)  # a batch may have nothing to learn

    def _stacked(self) -> Tensor:
        return torch.stack([self.loss, self.count, self.margin, self.won, self.pairs])  # (5,)
