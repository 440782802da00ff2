"""A training step on tensors without memory: the only place that finds out what activations take.

The model's own code runs, with its activation checkpointing and its loss head, on PyTorch's fake tensors: they have
shapes, types and storages of a size, and no numbers. So nothing is estimated that the code could say, a plugin's parts
count like ours, and a step of 72 billion parameters takes seconds and hardly any memory.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ..core.types import IGNORE, Batch, Example, VisionSpec
from ..model.interleaved_model import InterleavedModel
from ..processing.collate import collate
from .tally import Tally


@dataclass(frozen=True)
class StepShape:
    """Sizes of a micro-batch.

    rows, length: rows and their tokens.
    views: squares of pixels.
    supervised: share of the tokens that are learned, 0 to 1.
    """

    rows: int
    length: int
    views: int
    supervised: float


@dataclass(frozen=True)
class Precision:
    """In which types a step computes.

    weights: of the parameters as the layers meet them.
    autocast: type of products where weights are in another one; None without autocast.
    """

    weights: torch.dtype = torch.float32
    autocast: torch.dtype | None = None


@dataclass(frozen=True)
class Moment:
    """Bytes that live at once, besides weights, optimiser and what was there before a step.

    vision: made by vision encoder and projector in the forward pass, and kept for the backward pass.
    llm: the same of the language model.
    working: all else: the loss head, and what the backward pass makes.
    gradients: of parameters, that are whole.
    """

    vision: float
    llm: float
    working: float
    gradients: float

    def __add__(self, other: "Moment") -> "Moment":
        return Moment(
            self.vision + other.vision,
            self.llm + other.llm,
            self.working + other.working,
            self.gradients + other.gradients,
        )

    def times(self, number: float) -> "Moment":
        """So many of them."""
        return Moment(number * self.vision, number * self.llm, number * self.working, number * self.gradients)

    @classmethod
    def at_peak(cls, tally: Tally) -> "Moment":
        """The one in which most lived since the tally's restart. Its phases are named ``vision`` and ``llm``."""
        by_phase = tally.peak_by_phase
        vision, llm = by_phase["vision"], by_phase["llm"]
        return cls(vision, llm, by_phase.total() - vision - llm, tally.extra_at_peak)


@dataclass(frozen=True)
class StepMemory:
    """What a step takes.

    forward: the moment of the forward pass in which most lives, the loss head at its end included.
    backward: the same of the backward pass.
    moved: bytes that operations other than products and attention read and wrote, both passes together.
    """

    forward: Moment
    backward: Moment
    moved: float

    def __add__(self, other: "StepMemory") -> "StepMemory":
        return StepMemory(self.forward + other.forward, self.backward + other.backward, self.moved + other.moved)

    def times(self, number: float) -> "StepMemory":
        """So many of it."""
        return StepMemory(self.forward.times(number), self.backward.times(number), number * self.moved)


class Rehearsal:
    """A model that steps without memory, as often as asked."""

    def __init__(self, model: InterleavedModel, vision: VisionSpec, precision: Precision) -> None:
        """model: frozen and checkpointed as it will train; its parameters lose their memory.

        vision: of its views. precision: in which it computes.
        """
        self.model, self.vision, self.precision = model, vision, precision
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        with self._mode:
            _empty(model, precision.weights)

    def step(self, shape: StepShape, gradient_bytes: float = 4.0) -> StepMemory:
        """The memory of a forward and a backward pass.

        gradient_bytes: of a gradient that is kept, for each number of a trained parameter; less where it is sharded.
        """
        batch = blank_batch(shape, self.vision)
        tensors = [*self.model.parameters(), *self.model.buffers()]
        with self._mode, Tally(tensors) as tally, _gradients(self.model, tally, gradient_bytes):
            with self._autocast(), _phases(self.model, tally):
                loss, _ = self.model.loss(batch)
            forward = Moment.at_peak(tally)
            tally.restart()
            loss.backward()
        return StepMemory(forward, Moment.at_peak(tally), tally.moved)

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        """Around the forward pass alone and without a cache of weights, as Lightning does it."""
        dtype = self.precision.autocast
        return torch.autocast("cpu", dtype, cache_enabled=False) if dtype else nullcontext()


def blank_batch(shape: StepShape, vision: VisionSpec) -> Batch:
    """A batch of these sizes, of one document a row, that shows nothing in its text.

    Its views are encoded all the same, as those of any batch are.
    """
    learned = max(1, round(shape.supervised * shape.length))
    ids = torch.zeros(shape.length, dtype=torch.long)  # (T,)
    labels = torch.full_like(ids, IGNORE)
    labels[-learned:] = 0
    example = Example(ids, labels, torch.zeros(0, dtype=torch.long), [])
    batch = collate([[example]] * shape.rows, shape.length, vision)
    pixels = torch.zeros(max(1, shape.views), 3, vision.size, vision.size, dtype=torch.uint8)  # (V, 3, S, S)
    return replace(batch, pixel_values=pixels)


def _empty(model: nn.Module, dtype: torch.dtype) -> None:
    """Give a model fake parameters and buffers; what was tied stays tied."""
    made: dict[int, nn.Parameter] = {}  # by the id of the parameter before
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in made:
                kind = dtype if parameter.is_floating_point() else parameter.dtype
                made[id(parameter)] = nn.Parameter(torch.empty(parameter.shape, dtype=kind), parameter.requires_grad)
            module.register_parameter(name, made[id(parameter)])
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))


@contextmanager
def _gradients(model: nn.Module, tally: Tally, gradient_bytes: float) -> Iterator[None]:
    """Count each gradient by its numbers as soon as it is whole, and let go of the tensor."""

    def count(parameter: Tensor) -> None:
        tally.extra += gradient_bytes * parameter.numel()
        parameter.grad = None

    handles = [p.register_post_accumulate_grad_hook(count) for p in model.parameters() if p.requires_grad]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _phases(model: InterleavedModel, tally: Tally) -> Iterator[None]:
    """Let a forward pass be of the phases ``vision`` and ``llm``, and of a nameless one when both are done."""

    def follows(phase: str) -> Callable[..., None]:
        return lambda *_: setattr(tally, "phase", phase)

    tally.phase = "vision"
    handles = [
        model.projector.register_forward_hook(follows("llm")),
        model.llm.register_forward_hook(follows("")),
    ]
    try:
        yield
    finally:
        tally.phase = ""
        for handle in handles:
            handle.remove()
