"""A small model with compiled blocks beside the same model without, over batches that differ in everything."""

import random

import torch
from small_models import rendered, small_config, some_samples

from interleave.core.types import Batch
from interleave.model.assembly import Assembly, assemble
from interleave.model.interleaved_model import InterleavedModel
from interleave.processing.collate import collate
from interleave.training.compilation import compile_blocks, compiled_graphs
from interleave.training.parallelize import TOWERS, CheckpointMode, blocks, checkpoint_activations

LENGTH = 700
RATE = 1e-2


def two_models(kept: CheckpointMode | None, backend: str) -> tuple[Assembly, InterleavedModel]:
    """The same weights twice: blocks checkpointed as asked and compiled, and as they are written."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    compiled, plain = assemble(small_config()), assemble(small_config()).model
    plain.load_state_dict(compiled.model.state_dict())
    checkpoint_activations(compiled.model, dict.fromkeys(TOWERS, kept) if kept else {})
    compile_blocks(blocks(compiled.model), backend)
    return compiled, plain


def mixed_batches(assembly: Assembly, count: int) -> list[Batch]:
    """Batches of one row of one to many documents, with every modality and with none."""
    choose = random.Random(0)
    examples = rendered(assembly, some_samples(assembly))
    batches = []
    for _ in range(count):
        row = [choose.choice(examples)]
        while choose.random() < 0.8:
            row.append(choose.choice(examples))
            if sum(len(example.input_ids) for example in row) > LENGTH:
                row.pop()
                break
        batches.append(collate([row], LENGTH, assembly.vision))
    return batches


def learn(model: InterleavedModel, batches: list[Batch]) -> list[float]:
    """A step of plain gradient descent on each batch; the mean losses before it."""
    descent = torch.optim.SGD(model.parameters(), lr=RATE)
    losses = []
    for batch in batches:
        loss, count = model.loss(batch)
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        descent.step()
        descent.zero_grad()
        losses.append((loss / count).item())
    return losses


def graphs_of(model: InterleavedModel, batches: list[Batch]) -> tuple[list[float], int]:
    """Losses as ``learn`` gives them, and how many graphs were compiled after the first batch."""
    first = learn(model, batches[:1])
    before = compiled_graphs()
    return first + learn(model, batches[1:]), compiled_graphs() - before
