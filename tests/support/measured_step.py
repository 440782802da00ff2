"""What a step of a real run takes: memory by the terms of a plan, from PyTorch's own allocator, and seconds."""

import gc
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader
from torch.utils.hooks import RemovableHandle

from interleave.core.types import IGNORE, Batch, Example, VisionSpec, Visual
from interleave.costs.memory import MEMORY_TERMS
from interleave.model.interleaved_model import InterleavedModel
from interleave.processing.collate import collate
from interleave.training.build import build_module, build_trainer
from interleave.training.lightning_module import LitInterleaved
from interleave.training.start import initial_model

WARM, TIMED = 2, 3
"""Steps before those that are timed, and those. The two after them are measured: the profiler says nothing of memory
that is given back and was taken before it began, such as the gradients of the step before."""
PHASES = {"": "head and working", "vision": "vision activations", "llm": "llm activations"}
MARK = "mark:"
"""What the names of the profiler's events begin with that say which phase follows, or whose gradient is whole."""


class Event(NamedTuple):
    """A mark, or what the allocator gave, or took back: then ``size`` is below 0.

    at: nanoseconds. number: its own, so that none are equal. until: when the operator ends that asked for the memory.
    """

    at: int
    number: int
    mark: str = ""
    address: int = 0
    size: int = 0
    until: int = 0


class MeasuredStep(Callback):
    """Runs along a training, and knows then what its steps took.

    memory: bytes by term at the worst moment, without what a kernel takes for itself while it runs, such as the float32
        sums of a product in bf16. scratch: by how much the worst moment is worse with that.
    seconds: of each timed step, by the processor's clock.
    """

    def __init__(self) -> None:
        self.memory: dict[str, int] = {}
        self.scratch = 0
        self.seconds: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        assert isinstance(pl_module, LitInterleaved)
        self._begun = time.process_time()
        if batch_idx == WARM + TIMED:
            self._handles = list(_marks(pl_module.model))
            (adamw,) = trainer.optimizers
            states = [t for state in adamw.state.values() for t in state.values() if isinstance(t, Tensor)]
            self._known = {
                "weights": _sizes([*pl_module.model.parameters(), *pl_module.model.buffers()]),
                "optimizer": _sizes(states),
                "batches": _sizes(_batch_tensors()),
            }
            self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            self._profile.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        if WARM <= batch_idx < WARM + TIMED:
            self.seconds.append(time.process_time() - self._begun)
        if batch_idx == WARM + TIMED + 1:
            self._profile.__exit__(None, None, None)
            for handle in self._handles:
                handle.remove()
            events = _events(self._profile)
            self.memory = _at_peak(_without_scratch(events), self._known)
            self.scratch = sum(_at_peak(events, self._known).values()) - sum(self.memory.values())


def measure(config: Mapping[str, Any]) -> MeasuredStep:
    """Train a few steps as a run would, on full rows of the documents that the config's ``plan`` node assumes."""
    assembly, config, start = initial_model(config, reads=True)
    measured = MeasuredStep()
    trainer = build_trainer(config, [measured])
    batches = DataLoader(
        range(WARM + TIMED + 2), batch_size=None, collate_fn=lambda _: assumed_batch(config, assembly.vision)
    )  # type: ignore[arg-type, var-annotated]
    trainer.fit(build_module(config, assembly.model, start), batches)
    return measured


def assumed_batch(config: Mapping[str, Any], vision: VisionSpec) -> Batch:
    """As many documents of ``plan.tokens`` with ``plan.views`` as its rows hold."""
    data, plan = config["data"], config["plan"]
    tokens, views = plan["tokens"], plan["views"]
    labels = torch.full((tokens,), IGNORE)  # (T,)
    labels[tokens - round(plan["learned"] * tokens) :] = 1
    features = views * vision.tokens
    pixels = torch.zeros(views, 3, vision.size, vision.size, dtype=torch.uint8)  # (V, 3, S, S)
    shown = Visual("image", pixels, [features])
    document = Example(torch.ones(tokens, dtype=torch.long), labels, torch.arange(features), [shown])
    length = data["sequence_length"]
    return collate([[document] * (length // tokens)] * data["batch_size"], length, vision)


def _marks(model: InterleavedModel) -> Iterator[RemovableHandle]:
    """Let the profiler see where phases begin, and which gradients are whole."""
    yield model.vision_encoder.register_forward_pre_hook(lambda *_: _mark("vision"))
    yield model.projector.register_forward_hook(lambda *_: _mark("llm"))
    yield model.llm.register_forward_hook(lambda *_: _mark(""))
    for parameter in model.parameters():
        if parameter.requires_grad:
            yield parameter.register_post_accumulate_grad_hook(_mark_gradient)


def _mark_gradient(parameter: Tensor) -> None:
    assert parameter.grad is not None
    _mark(str(parameter.grad.untyped_storage().data_ptr()))


def _mark(what: str) -> None:
    with record_function(MARK + what):
        pass


def _sizes(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Bytes of the tensors' storages, by their addresses."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _batch_tensors() -> list[Tensor]:
    """Tensors of all batches that live."""
    tensors: list[Tensor] = []
    for batch in [thing for thing in gc.get_objects() if type(thing) is Batch]:
        tensors += [value for value in tree_leaves(vars(batch)) if isinstance(value, Tensor)]
    return tensors


def _events(profiled: profile) -> list[Event]:
    """Marks, and what the allocator gave and took back, as it came."""
    kineto = profiled.profiler.kineto_results  # type: ignore[union-attr]
    found: list[Event] = []
    waiting = [(event, 0) for event in kineto.experimental_event_tree()]
    while waiting:
        event, until = waiting.pop()
        waiting += [(child, event.end_time_ns) for child in event.children]
        if event.typed[0] == _EventType.Allocation:
            fields = event.typed[1]
            found.append(Event(event.start_time_ns, len(found), "", fields.ptr, fields.alloc_size, until))
        elif event.name.startswith(MARK):
            found.append(Event(event.start_time_ns, len(found), event.name))
    return sorted(found)


def _without_scratch(events: Iterable[Event]) -> list[Event]:
    """Without memory that is given back before the operator ends that asked for it."""
    kept = {event.number: event for event in events}
    taken: dict[int, Event] = {}  # by address
    for event in list(kept.values()):
        if event.size > 0:
            taken[event.address] = event
        elif event.address in taken:
            begun = taken.pop(event.address)
            if event.at <= begun.until:
                del kept[begun.number], kept[event.number]
    return list(kept.values())


def _at_peak(events: Iterable[Event], known: Mapping[str, Mapping[int, int]]) -> dict[str, int]:
    """Bytes by term when most lived."""
    owners: dict[int, tuple[str, int]] = {}
    for term, sizes in known.items():
        owners |= {address: (term, size) for address, size in sizes.items()}
    live: Counter[str] = Counter()
    for term, size in owners.values():
        live[term] += size
    peak, phase = live.copy(), PHASES[""]
    for event in events:
        address, size = event.address, event.size
        if event.mark:
            what = event.mark.removeprefix(MARK)
            phase = PHASES.get(what, phase)
            if what not in PHASES and int(what) in owners:
                term, held = owners[int(what)]
                owners[int(what)] = "gradients", held
                live[term] -= held
                live["gradients"] += held
        elif size > 0:
            owners[address] = phase, size
            live[phase] += size
        else:
            term, held = owners.pop(address, (phase, 0))  # 0: was there before, and is no term's
            live[term] -= held
        if live.total() > peak.total():
            peak = live.copy()
    return {term: peak[term] for term in MEMORY_TERMS}
