"""The work of a training step in FLOPs, by part: the only place that counts it. A multiply-add is two FLOPs.

Only matrix products, convolutions and attention count; norms, activations and the optimiser do not, as everywhere.
Shapes: V views, T tokens, D the width of the language model.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from ..core.types import Batch
from ..interfaces.model_parts import LanguageModel
from ..model.interleaved_model import InterleavedModel

WORK_PARTS = ("vision_encoder", "projector", "llm", "attention", "head")
"""Parts whose work is counted. ``llm`` is its matrices without the head; ``attention`` its scores and their sums."""


@dataclass(frozen=True)
class Quantities:
    """How much there is of what work is counted by, in a batch, or in a step of all ranks and micro-batches.

    tokens: without padding.
    squares: the sum over documents of their squared lengths.
    supervised: tokens that are learned.
    views: squares of pixels.
    """

    tokens: float
    squares: float
    supervised: float
    views: float

    def __add__(self, other: "Quantities") -> "Quantities":
        return Quantities(
            self.tokens + other.tokens,
            self.squares + other.squares,
            self.supervised + other.supervised,
            self.views + other.views,
        )

    @classmethod
    def of(cls, batch: Batch) -> "Quantities":
        """Those of a batch, on any device: all are plain numbers."""
        squares = sum(length**2 for length in batch.document_lengths)
        return cls(batch.num_tokens, squares, len(batch.targets.ids), len(batch.pixel_values))


@dataclass(frozen=True)
class Passes:
    """FLOPs of a part for one unit of what it is counted by: a view, a token, a squared token.

    forward: of the forward pass.
    backward: of the gradients that are formed: of weights that are trained, of inputs where something before learns.
    recomputed: of what activation checkpointing computes again.
    """

    forward: float = 0.0
    backward: float = 0.0
    recomputed: float = 0.0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(self.forward + other.forward, self.backward + other.backward, self.recomputed + other.recomputed)

    def times(self, number: float) -> "Passes":
        """Those of so many units."""
        return Passes(number * self.forward, number * self.backward, number * self.recomputed)

    @property
    def useful(self) -> float:
        """What a step without activation checkpointing would do."""
        return self.forward + self.backward

    @property
    def done(self) -> float:
        """All of it."""
        return self.forward + self.backward + self.recomputed


@dataclass(frozen=True)
class ModelWork:
    """The work of a model with its frozen and trained weights.

    view, projected: of vision encoder and projector, for a view.
    token: of the language model's matrices, for a token.
    square: of attention, for each token squared of a document; causal, so half of the square is computed.
    supervised: of the head, for a supervised token.
    matrices: parameters of the language model that work on every token as others count it: all of its matrices with
        the head, without the table of embeddings.
    attended: layers * heads * dimensions of a head.
    """

    view: Passes
    projected: Passes
    token: Passes
    square: Passes
    supervised: Passes
    matrices: int
    attended: int

    def by_part(self, quantities: Quantities) -> dict[str, Passes]:
        """FLOPs of every one of ``WORK_PARTS``, as they are done."""
        return {
            "vision_encoder": self.view.times(quantities.views),
            "projector": self.projected.times(quantities.views),
            "llm": self.token.times(quantities.tokens),
            "attention": self.square.times(quantities.squares),
            "head": self.supervised.times(quantities.supervised),
        }

    def total(self, quantities: Quantities) -> Passes:
        """FLOPs of all parts."""
        return sum(self.by_part(quantities).values(), Passes())

    def llm_alone(self, quantities: Quantities) -> float:
        """FLOPs as most reports count them: the language model as if all of it were trained, the head on every token,
        attention over whole squares: 6 N tokens + 12 layers heads d squares (PaLM, arXiv:2204.02311, appendix B).
        """
        return 6.0 * self.matrices * quantities.tokens + 12.0 * self.attended * quantities.squares


def model_work(model: InterleavedModel, checkpointed: Collection[str] = ()) -> ModelWork:
    """Count a model's work from its shapes, on any device, meta too. Call it once it is frozen and before it is sharded
    or compiled.

    checkpointed: the towers, ``vision_encoder`` and ``llm``, that compute their activations again.
    """
    view, projected = _view_passes(model, again="vision_encoder" in checkpointed)
    llm, again = model.llm, "llm" in checkpointed
    learns = any(p.requires_grad for p in model.parameters())  # the last block's gradient passes through all blocks
    linear = list(_linear_weights(llm.blocks()))
    matrices, trained = _sizes(linear), _sizes(w for w in linear if w.requires_grad)
    attended = len(llm.blocks()) * _attention_width(llm)
    head_size = _head_size(llm)
    return ModelWork(
        view=view,
        projected=projected,
        token=_matrix_passes(matrices, trained, learns, again),
        # causal: half of 2 * 2 * d for scores and their sums, twice that backward
        square=Passes(2.0 * attended, 4.0 * attended * learns, 2.0 * attended * again),
        supervised=_matrix_passes(head_size, head_size if _head_learns(llm) else 0, learns, again=False),
        matrices=matrices + head_size,
        attended=attended,
    )


def _matrix_passes(size: int, trained: int, gradient_passes: bool, again: bool) -> Passes:
    """Of products of a row with matrices of ``size`` numbers together, ``trained`` of which get gradients."""
    return Passes(2.0 * size, 2.0 * trained + 2.0 * size * gradient_passes, 2.0 * size * again)


def _linear_weights(blocks: Iterable[nn.Module]) -> Iterable[Tensor]:
    for block in blocks:
        for module in block.modules():
            if isinstance(module, nn.Linear):
                yield module.weight


def _sizes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _attention_width(llm: LanguageModel) -> int:
    """Heads times dimensions of a head; of a model that is not one of Transformers, its width."""
    inner = llm.transformers_model()
    if inner is None:
        return llm.dim
    heads = int(inner.config.num_attention_heads)
    return heads * int(getattr(inner.config, "head_dim", None) or inner.config.hidden_size // heads)


def _head_weight(llm: LanguageModel) -> Tensor | None:
    inner = llm.transformers_model()
    head = inner.get_output_embeddings() if inner is not None else None
    return head.weight if isinstance(head, nn.Linear) else None


def _head_size(llm: LanguageModel) -> int:
    """Numbers in the head's matrix, found by counting what one hidden state costs."""
    weight = _head_weight(llm)
    if weight is not None:
        return weight.numel()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(_Head(llm), _on_meta(_Head(llm)), (torch.empty(1, llm.dim, device="meta"),))
    return int(counter.get_total_flops()) // 2


def _head_learns(llm: LanguageModel) -> bool:
    weight = _head_weight(llm)
    return weight.requires_grad if weight is not None else any(p.requires_grad for p in llm.parameters())


class _Head(nn.Module):
    """A language model whose call is that of its head."""

    def __init__(self, llm: LanguageModel) -> None:
        super().__init__()
        self.llm = llm

    def forward(self, hidden: Tensor) -> Tensor:
        return self.llm.head(hidden)


def _view_passes(model: InterleavedModel, again: bool) -> tuple[Passes, Passes]:
    """Of vision encoder and projector for one view, counted while both run on a view without memory.

    Any class of either is counted rightly, since what is counted is what it calls; attention as whole squares, which a
    vision encoder's is.
    """
    side = model.vision_encoder.spec.size
    pixels = torch.empty(1, 3, side, side, device="meta")  # (1, 3, S, S)
    features, seen = _forward(model.vision_encoder, pixels)
    # the same numbers as the start of a graph of their own, so that each part's backward pass is counted by itself
    begun = features.detach().requires_grad_(features.requires_grad)
    projected, projecting = _forward(model.projector, begun)
    backward = _backward(projected)
    seen_backward = _backward(features)
    recomputed = seen if again and features.requires_grad else 0.0  # nothing is computed again where nothing learns
    return Passes(seen, seen_backward, recomputed), Passes(projecting, backward)


def _forward(module: nn.Module, values: Tensor) -> tuple[Tensor, float]:
    """What a module makes of ``values`` on the meta device, and its FLOPs."""
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        out: Tensor = functional_call(module, _on_meta(module), (values,))
    return out, float(counter.get_total_flops())


def _backward(out: Tensor) -> float:
    """FLOPs of the backward pass from ``out``; 0 where nothing learns."""
    if not out.requires_grad:
        return 0.0
    with FlopCounterMode(display=False) as counter:
        out.backward(torch.empty_like(out))
    return float(counter.get_total_flops())


def _on_meta(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers without memory, which take gradients as the module's own do."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        # of their own sizes, whatever kind of tensor they are
        empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        tensors[name] = empty.requires_grad_(tensor.requires_grad)
    return tensors
