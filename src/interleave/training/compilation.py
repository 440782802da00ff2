"""torch.compile of the towers' blocks, each by itself, while a model is trained.

A block is compiled once and its graph serves all blocks of its shape. What stands between blocks (sharding, gathering,
embeddings, the loss) stays as it is written, and the names of weights stay as they are.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch._dynamo.utils import counters

from ..core.types import Segments

RECOMPILE_LIMIT = 16
"""Graphs that torch keeps of one function; beyond them it goes on uncompiled. Layers of Transformers are called through
one function, so that those of both towers count together, and torch's own 8 is near."""


def compile_blocks(blocks: Iterable[nn.Module], backend: str = "inductor") -> None:
    """Compile the forward pass of each block in place, for training alone.

    In evaluation mode a block runs as it is written: the lengths of prompts and replies would never stop to ask for
    other graphs. backend: torch's name of what compiles.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
    for block in blocks:
        block.forward = _in_training(block, torch.compile(block.forward, backend=backend))


def _in_training(block: nn.Module, compiled: Callable[..., Any]) -> Callable[..., Any]:
    """What takes the place of the block's forward pass: ``compiled`` while it is trained, and itself elsewhere."""
    plain = block.forward

    @wraps(plain)
    def forward(*args: Any, **options: Any) -> Any:
        if not block.training:
            return plain(*args, **options)
        _mark_dynamic(*args, *options.values())
        return compiled(*args, **options)

    return forward


def _mark_dynamic(*inputs: object) -> None:
    """Tell torch which sizes differ from batch to batch, the numbers of views and of documents; it would find out by
    compiling twice."""
    for value in inputs:
        if isinstance(value, Segments):
            torch._dynamo.maybe_mark_dynamic(value.offsets, 0)
    # rows are always B of T tokens; views come as (V, P, D) without documents beside them
    first = inputs[0] if inputs else None
    if isinstance(first, Tensor) and not any(isinstance(value, Segments) for value in inputs):
        torch._dynamo.maybe_mark_dynamic(first, 0)


def compiled_graphs() -> int:
    """How many graphs this process has compiled."""
    return int(counters["stats"]["unique_graphs"])


class RecompilationCount(Callback):
    """Logs ``train/recompilations``: how many graphs were compiled since the first micro-batch."""

    def __init__(self) -> None:
        self._first: int | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if self._first is None:
            self._first = compiled_graphs()
        pl_module.log("train/recompilations", float(compiled_graphs() - self._first))
