"""Reference log-probabilities of DPO: each rank asks the model for its share of the pairs, once for all runs."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from ..checkpoints import StoredTensors
from ..core.collectives import all_gather, global_rank, world_size
from ..core.errors import BadSample, InputError, sample_border
from ..core.options import Config
from ..core.sample import Preference
from ..core.types import Example, VisionSpec
from ..data.datamodule import InterleavedData
from ..data.packed_loader import PackedLoader, Rows
from ..data.packing import Packer
from ..interfaces.stored_weights import StoredTensor
from ..model.interleaved_model import InterleavedModel
from ..processing.collate import collate
from .lightning_module import LitInterleaved

RENDERING_GROUPS = ("vision_encoder", "projector", "llm", "modality", "dataset")
"""The nodes of a config that decide, beside options of the data, what a pair is when it is rendered."""
Reference = tuple[str, str, float, float]
"""A pair's name, its ``content_key``, and the log-probabilities of the chosen and the rejected reply."""


@dataclass
class References:
    """Log-probabilities of pairs under the model that training begins with, kept in a file of JSON lines.

    A file belongs to one set of weights and one rendering, which its name says. What it lacks is computed once. An
    instance is called with an example, and is what a loader asks for ``Example.reference``.

    path: the file. known: log-probabilities of the chosen and the rejected reply, by the pair's ``content_key``.
    names: of the pairs that are known; these are not rendered again.
    """

    path: Path
    known: dict[str, tuple[float, float]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def read(self) -> None:
        """Know what the file holds, as rank 0 sees it. A collective that each rank must call."""
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        for line in all_gather(text)[0].splitlines():
            try:
                self._know(json.loads(line))
            except (json.JSONDecodeError, ValueError):  # a run was killed while it wrote the line
                continue

    def compute(self, batches: Iterator[Rows], model: InterleavedModel, vision: VisionSpec, length: int) -> int:
        """Ask ``model`` for the pairs of this rank's ``batches`` and share what is found; returns how many there were
        on all ranks.

        A collective that each rank must call: all of them run the model equally often, at last on blank batches. Rank 0
        writes what is found after each batch. length: tokens of a row.
        """
        count = 0
        device = model.mean.device
        while True:
            rows = next(batches, None)
            if not any(all_gather(rows is not None)):
                return count
            batch = collate(rows or [[_blank_example()]], length, vision).to(device)
            with torch.no_grad():
                sums, _ = model.document_losses(batch)  # (B, documents + 1)
            for found in all_gather(_references(rows or [], batch.pairs, sums.float().cpu())):
                self._keep(found)
                count += len(found)

    def __call__(self, example: Example) -> tuple[float, float]:
        """Log-probabilities of the chosen and the rejected reply. Raises InputError for a pair without any."""
        key = content_key(example)
        if key not in self.known:
            raise InputError(
                f"{self.path} has no reference for {example.name}, whose data has changed since; remove the file to "
                "compute all anew"
            )
        return self.known[key]

    def _keep(self, found: Sequence[Reference]) -> None:
        for reference in found:
            self._know(reference)
        if found and global_rank() == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # each line begins with its break: what a killed run left by half does not spoil the next
                file.write("".join(f"\n{json.dumps(reference)}" for reference in found))

    def _know(self, reference: Reference) -> None:
        name, key, chosen, rejected = reference
        self.known[key] = (chosen, rejected)
        self.names.add(name)


def _references(rows: Rows, pairs: Tensor, sums: Tensor) -> list[Reference]:
    """pairs: (P, 2) row and column of the chosen replies. sums: (B, documents + 1) token losses of documents."""
    examples = [example for row in rows for example in row]
    found: list[Reference] = []
    for example, (row, column) in zip(examples, pairs.tolist() if rows else (), strict=True):
        chosen, rejected = -sums[row, column : column + 2]
        found.append((example.name, content_key(example), float(chosen), float(rejected)))
    return found


def _blank_example() -> Example:
    """Two tokens, of which one is learned."""
    nowhere = torch.zeros(0, dtype=torch.long)
    return Example(torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.long), nowhere, [])


def set_references(data: InterleavedData, references: References, module: LitInterleaved, vision: VisionSpec) -> None:
    """Give every pair of all loaders its log-probabilities, known or computed now, in the run's precision.

    A collective that each rank must call, once the model is sharded and filled.
    """
    model, trainer, was_training = module.model, module.trainer, module.model.training
    model.eval()
    if module.device_mesh is None:  # what lies in no file is still on the CPU; sharding has moved it already
        model.to(trainer.strategy.root_device)
    references.read()
    for loader in data.loaders():
        batches = pair_batches(loader, "train" if loader is data.train else "validation", references.names)
        with trainer.precision_plugin.forward_context():
            count = references.compute(batches, model, vision, loader.budget.sequence_length)
        loader.set_reference(references)
        if trainer.is_global_zero:
            Console(stderr=True).print(f"references: {count} computed, all kept in {references.path}", soft_wrap=True)
    model.train(was_training)


def pair_batches(loader: PackedLoader, split: str, known: set[str]) -> Iterator[Rows]:
    """This rank's share of a loader's pairs whose names are not ``known``, packed as training packs them; each
    example is called by its name, ``SPLIT/SOURCE[INDEX]``. Samples that cannot be used are left out."""
    budget = loader.budget
    packer = Packer(budget.batch_size, budget.sequence_length, budget.max_views, budget.lookahead)
    for place, (source, index) in enumerate(_share(loader, split, known)):
        example = loader.source.example(source, index)
        if isinstance(example, Example):
            packer.add(place, replace(example, name=_name(split, source, index)))
        if packer.full:
            yield packer.take()
    while packer.waiting:
        yield packer.take()


def _share(loader: PackedLoader, split: str, known: set[str]) -> Iterator[tuple[str, int]]:
    """Source and number of each pair that this rank asks for."""
    unknown: list[tuple[str, int]] = []
    for source, dataset in loader.source.datasets.items():
        every = [(source, index) for index in range(len(dataset))]
        unknown += [one for one in every if _name(split, *one) not in known]
    for source, index in unknown[global_rank() :: world_size()]:
        try:
            with sample_border():
                is_pair = isinstance(loader.source.datasets[source][index], Preference)
        except BadSample:  # the loader says so when it comes to it
            continue
        if is_pair:
            yield source, index


def _name(split: str, source: str, index: int) -> str:
    return f"{split}/{source}[{index}]"


def references_of(
    folder: Path, model: nn.Module, places: Mapping[str, StoredTensor] | None, data: InterleavedData, config: Config
) -> References:
    """Those in ``folder`` that belong to a model's first weights and to a run's rendering.

    model: as it was built, before adapters change the names of its weights. places: of the weights that it has not yet.
    """
    source = data.train.source
    nodes = {group: config[group] for group in RENDERING_GROUPS}
    text = json.dumps(nodes, sort_keys=True, default=str) + repr((source.rendering, source.limits, source.own))
    rendering = hashlib.sha256(text.encode()).hexdigest()[:16]
    return References(folder / f"{weights_identity(model, places or {})}-{rendering}.jsonl")


def weights_identity(model: nn.Module, places: Mapping[str, StoredTensor]) -> str:
    """A hash of names, shapes, and the first and last row of every weight; of those at ``places`` as they are in the
    files, so that it does not matter who reads which part of them later."""
    digest, stored = hashlib.sha256(), StoredTensors()
    for name, tensor in sorted(model.named_parameters()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        last = len(tensor) - 1 if tensor.ndim else 0
        for rows in (slice(0, 1), slice(last, last + 1)) if tensor.ndim else ():
            own = stored.read(places[name], (rows,)) if name in places else tensor[rows]
            digest.update(own.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def content_key(example: Example) -> str:
    """A hash of all that the log-probabilities of a pair depend on besides the model: ids, labels and visuals."""
    visuals = [visual.described() for visual in example.visuals]
    digest = hashlib.sha256(repr(visuals).encode())
    for tensor in (example.input_ids, example.labels, *(v.pixel_values for v in example.visuals)):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
