"""Learning from preferred replies: direct preference optimisation, and the log-probabilities that it starts from.

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


@dataclass(frozen=True)
class DPO:
    """beta: how dear it is to leave the model that training began with. sft: weight of the chosen replies' mean token
    loss. cache: folder of reference log-probabilities.

    Ordinary conversations in the same run count like a pair each, with their mean token loss.
    """

    beta: float = 0.1
    sft: float = 0.0
    cache: str = "data/references"


def sigmoid_loss(chosen: Tensor, rejected: Tensor, reference: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Losses and margins (P,) of pairs.

    chosen, rejected: (P,) log-probabilities of the replies. reference: (P, 2) of both when training began.
    """
    margin = beta * ((chosen - reference[:, 0]) - (rejected - reference[:, 1]))
    return -F.logsigmoid(margin), margin


def preference_loss(model: InterleavedModel, batch: Batch, dpo: DPO) -> Tensor:
    """(5,): the sum of losses, the number of units (pairs and ordinary documents), the sum of margins, how many chosen
    replies have gained more than their rejected ones, the number of pairs. Only the first has a gradient.
    """
    sums, counts = model.document_losses(batch)
    rows, columns = batch.pairs[:, 0], batch.pairs[:, 1]
    reference = sums.new_tensor(batch.reference).view(-1, 2)
    chosen, rejected = -sums[rows, columns], -sums[rows, columns + 1]
    losses, margins = sigmoid_loss(chosen, rejected, reference, dpo.beta)
    if dpo.sft:
        losses = losses - dpo.sft * chosen / counts[rows, columns].clamp(min=1)
    ordinary = counts > 0
    ordinary[rows, columns] = ordinary[rows, columns + 1] = False
    ordinary[:, 0] = False
    alone = (sums / counts.clamp(min=1))[ordinary]
    seen = torch.stack([losses.new_tensor(len(losses) + len(alone)), margins.sum(), (margins > 0).sum().to(losses)])
    return torch.cat([(losses.sum() + alone.sum())[None], seen.detach(), losses.new_tensor([len(losses)])])


@dataclass
class References:
    """Log-probabilities of pairs under the model that training began with, by the pairs' content, on disk.

    A file belongs to one set of weights: other weights have another. Missing ones are computed once.
    """

    path: Path
    known: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, model: InterleavedModel) -> "References":
        found = hashlib.sha256()
        for name, tensor in sorted(model.state_dict().items()):
            found.update(
                name.encode() + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
        return cls(folder / f"{found.hexdigest()[:32]}.jsonl")

    def compute(self, examples: Iterable[Example], model: InterleavedModel, vision: VisionSpec) -> int:
        """Ask ``model`` for the pairs among ``examples`` that are not known yet; how many there were.

        Several processes may call it: one computes, the others wait and read.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            self._read()
            before = len(self.known)
            with self.path.open("a", encoding="utf-8") as file:
                for example in examples:
                    if example.documents and (key := content(example)) not in self.known:
                        self.known[key] = _log_probabilities(model, example, vision)
                        file.write(json.dumps([key, *self.known[key]]) + "\n")
        return len(self.known) - before

    def __call__(self, example: Example) -> tuple[float, float]:
        key = content(example)
        if key not in self.known:
            raise InputError(
                f"{self.path} has no reference for {example.name}; remove the file to compute all overwrite"
            )
        return self.known[key]

    def _read(self) -> None:
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                key, chosen, rejected = json.loads(line)
                self.known[key] = (chosen, rejected)


def content(example: Example) -> str:
    """A hash of all that the model reads and is asked for."""
    found = hashlib.sha256(repr([(v.kind, v.layout, sorted(v.meta.items())) for v in example.visuals]).encode())
    for tensor in (example.input_ids, example.labels, *(v.pixel_values for v in example.visuals)):
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:32]


@torch.inference_mode()
def _log_probabilities(model: InterleavedModel, example: Example, vision: VisionSpec) -> tuple[float, float]:
    batch = collate([[example]], len(example.input_ids), vision).to(model.mean.device)
    was_training = model.training
    sums, _ = model.eval().document_losses(batch)
    model.train(was_training)
    return -float(sums[0, 1]), -float(sums[0, 2])
