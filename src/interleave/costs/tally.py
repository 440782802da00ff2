"""The memory and the traffic of the operations that run, counted from the outside: of fake tensors as of real ones."""

import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
UNCOUNTED = {
    *flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu,  # the registry knows those of a GPU alone
    aten._scaled_dot_product_flash_attention_for_cpu_backward,
    aten._unsafe_view,  # no view by its schema, and one in what it does
    aten.empty,
    aten.empty_like,
    aten.new_empty,
}
"""Operations that are not counted as traffic: products and attention, and those that touch no memory."""


class Tally(TorchDispatchMode):
    """While it is active, knows the bytes of all tensors that operations made and that still live.

    live: bytes now, without those of ``known``.
    phase: a word of the caller's for what runs; tensors are counted under the one in which they were made.
    peak: the most that ``live`` plus ``extra`` has been since ``restart``; ``peak_by_phase`` what lived then, by phase.
    extra: bytes that the caller adds, such as those of gradients that it takes out of ``live``; ``extra_at_peak`` is
        what it was at the peak.
    moved: bytes that operations read and wrote, without matrix products and attention, whose time is that of their
        FLOPs; on a device without fusion they all go through its memory.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        """known: tensors that were there before, such as parameters."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._made: dict[int, tuple[str, int]] = {}  # phases and sizes of storages that live
        self._kept = [tensor.untyped_storage() for tensor in known]  # so that no other storage takes their address
        self._known = {storage._cdata for storage in self._kept}
        self.live, self.peak, self.moved = 0, 0, 0
        self.extra, self.extra_at_peak = 0.0, 0.0
        self.phase = ""
        self._by_phase: Counter[str] = Counter()
        self.peak_by_phase: Counter[str] = Counter()

    def restart(self) -> None:
        """Begin the peak anew from what lives now."""
        self.peak = 0
        self._note_peak()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # Any: torch's own signature
        """Called for every operation."""
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.prim.device.default:  # most calls of all are this question of a fake tensor
            return out
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        for tensor in made:
            self._add(tensor.untyped_storage())
        if not (func._overloadpacket in UNCOUNTED or _is_view(func)):
            read = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
            self.moved += sum(tensor.nbytes for tensor in (*read, *made))
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        address = storage._cdata
        if address in self._made or address in self._known:
            return
        size = storage.nbytes()
        self._made[address] = self.phase, size
        self.live += size
        self._by_phase[self.phase] += size
        self._note_peak()
        weakref.finalize(storage, self._drop, address)

    def _drop(self, address: int) -> None:
        phase, size = self._made.pop(address, (self.phase, 0))
        self.live -= size
        self._by_phase[phase] -= size

    def _note_peak(self) -> None:
        if self.live + self.extra > self.peak:
            self.peak, self.extra_at_peak = int(self.live + self.extra), self.extra
            self.peak_by_phase = self._by_phase.copy()


def _is_view(func: Any) -> bool:
    """Whether an operation only looks at its argument's memory in another way."""
    return any(result.alias_info is not None and not result.alias_info.is_write for result in func._schema.returns)
