"""Learning from preferred replies: direct preference optimisation (DPO), and its reference log-probabilities.

Rafailov et al. 2023, arXiv:2305.18290.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor

from ..core.errors import InputError
from ..core.types import Batch, Example, VisionSpec
from ..model.interleaved_model import InterleavedModel
from ..processing.collate import collate
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


@dataclass
class References:
    """Log-probabilities of pairs under the model that training begins with, kept in a file of JSON lines.

    A file belongs to one set of weights, and its name is their hash: other weights have another file. What it lacks is
    computed once. An instance is called with an example, and is what a loader asks for ``Example.reference``.

    path: the file. known: log-probabilities of the chosen and the rejected reply, by the pair's ``content_key``.
    """

    path: Path
    known: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, model: InterleavedModel) -> "References":
        """Those in ``folder`` that belong to the model's weights, by a hash of all of them."""
        digest = hashlib.sha256()
        for name, tensor in sorted(model.state_dict().items()):
            raw = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)  # any dtype as bytes
            digest.update(name.encode() + raw.numpy().tobytes())
        return cls(folder / f"{digest.hexdigest()[:32]}.jsonl")

    def compute(self, examples: Iterable[Example], model: InterleavedModel, vision: VisionSpec) -> int:
        """Ask ``model`` for the pairs among ``examples`` that are not known yet; returns how many there were.

        Each is written as soon as it is computed. Several processes may call it: one computes, the others wait and
        read.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            self._read()
            before = len(self.known)
            with self.path.open("a", encoding="utf-8") as file:
                for example in examples:
                    if not example.documents:  # an ordinary conversation
                        continue
                    key = content_key(example)
                    if key not in self.known:
                        self.known[key] = _log_probabilities(model, example, vision)
                        file.write(json.dumps([key, *self.known[key]]) + "\n")
        return len(self.known) - before

    def __call__(self, example: Example) -> tuple[float, float]:
        """Log-probabilities of the chosen and the rejected reply. Raises InputError for a pair without any."""
        key = content_key(example)
        if key not in self.known:
            raise InputError(f"{self.path} has no reference for {example.name}; remove the file to compute all anew")
        return self.known[key]

    def _read(self) -> None:
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                key, chosen, rejected = json.loads(line)
                self.known[key] = (chosen, rejected)


def content_key(example: Example) -> str:
    """A hash of all that the log-probabilities of a pair depend on besides the model: ids, labels and visuals."""
    visuals = [visual.described() for visual in example.visuals]
    digest = hashlib.sha256(repr(visuals).encode())
    for tensor in (example.input_ids, example.labels, *(v.pixel_values for v in example.visuals)):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


@torch.inference_mode()
def _log_probabilities(model: InterleavedModel, example: Example, vision: VisionSpec) -> tuple[float, float]:
    """Of the chosen and the rejected reply of a pair, which are documents 1 and 2 of a row of their own."""
    batch = collate([[example]], len(example.input_ids), vision).to(model.mean.device)
    was_training = model.training
    sums, _ = model.eval().document_losses(batch)  # (1, 3)
    model.train(was_training)
    return -float(sums[0, 1]), -float(sums[0, 2])
