"""Learning from preferred replies: direct preference optimisation (DPO).

Rafailov et al. 2023, arXiv:2305.18290.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.types import Batch
from ..model.interleaved_model import InterleavedModel
from .step_sums import StepSums


@dataclass(frozen=True)
class DPO:
    """Options of ``stage.dpo``. Ordinary conversations in the same run count like a pair each, with their mean token
    loss.

    beta: weight of the penalty for leaving the model that training began with (the reference).
    sft: weight of the chosen replies' mean token loss, which is added to the loss.
    cache: folder of reference log-probabilities.
    """

    beta: float = 0.1
    sft: float = 0.0
    cache: str = "data/references"


def sigmoid_loss(chosen: Tensor, rejected: Tensor, reference: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Losses (P,) and reward margins (P,) of P pairs: equation 7 of the paper.

    chosen, rejected: (P,) log-probabilities of the replies. reference: (P, 2) of both under the reference model.
    """
    # reward = beta * log(p / p_reference); loss = -log sigmoid(reward of the chosen - reward of the rejected)
    margin = beta * ((chosen - reference[:, 0]) - (rejected - reference[:, 1]))
    return -F.logsigmoid(margin), margin


def preference_loss(model: InterleavedModel, batch: Batch, dpo: DPO) -> StepSums:
    """The batch's sums, counted in units: each pair is one, and each ordinary document, by its mean token loss.

    A pair of ``batch.pairs`` is two documents of one row, the chosen reply's and after it the rejected one's.
    """
    sums, counts = model.document_losses(batch)  # (B, documents + 1) each; column 0 is padding
    rows, columns = batch.pairs[:, 0], batch.pairs[:, 1]  # (P,) each; columns of the chosen replies
    reference = batch.reference.view(torch.float32)  # (P, 2)
    # a token's loss is its negative log-probability, so that a document's sum is minus its reply's log-probability
    chosen, rejected = -sums[rows, columns], -sums[rows, columns + 1]  # (P,) each
    losses, margins = sigmoid_loss(chosen, rejected, reference, dpo.beta)
    if dpo.sft:
        losses = losses - dpo.sft * chosen / counts[rows, columns].clamp(min=1)
    ordinary = _ordinary(counts, rows * counts.shape[1] + columns)  # (B, documents + 1)
    document_means = (sums / counts.clamp(min=1)).masked_fill(~ordinary, 0)
    return StepSums(
        loss=losses.sum() + document_means.sum(),
        count=len(losses) + ordinary.sum(),
        margin=margins.sum().detach(),
        won=(margins > 0).sum().to(losses),
        pairs=torch.full_like(losses.sum().detach(), len(losses)),
    )


def _ordinary(counts: Tensor, chosen: Tensor) -> Tensor:
    """(B, documents + 1) bool: which documents are supervised and no reply of a pair.

    counts: (B, documents + 1) supervised tokens; the padding has none. chosen: (P,) numbers of the chosen replies in
    the flattened counts; the rejected replies are those after them.
    """
    supervised = (counts > 0).flatten()
    return supervised.index_fill(0, torch.cat([chosen, chosen + 1]), False).view_as(counts)
