"""Keys and values of the tokens that were read and written, in memory that is reserved ahead."""

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

RESERVE = 0.25
"""Share of what is kept that is reserved for what will follow, whenever memory runs out."""
MIN_RESERVE = 256
"""Tokens that are reserved at least."""


class ReservingLayer(DynamicLayer):
    """A layer of Transformers' cache that writes new tokens behind the old ones.

    Transformers' own layer copies all keys and values for every token; at 5,000 tokens of a 0.5B model that is a
    gigabyte to read and write for each, more than the weights.
    """

    _key_room: Tensor | None = None
    _value_room: Tensor | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, H', n, d) of new tokens; returns those of all tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        self.keys, self._key_room = append(self.keys, key_states, self._key_room)
        self.values, self._value_room = append(self.values, value_states, self._value_room)
        return self.keys, self.values


def append(kept: Tensor, new: Tensor, room: Tensor | None) -> tuple[Tensor, Tensor]:
    """``kept`` (B, H', m, d) with ``new`` (B, H', n, d) behind it, and the room that it lies in.

    room: (B, H', capacity, d), whose beginning ``kept`` is, unless something else was put in the place of what was
    returned last, as a beam search does; None or too small a room makes a new one.
    """
    before = kept.shape[-2] if kept.numel() else 0
    needed = before + new.shape[-2]
    in_place = room is not None and before and room.data_ptr() == kept.data_ptr() and len(room) == len(new)
    if room is None or not in_place or room.shape[-2] < needed:
        capacity = needed + max(MIN_RESERVE, int(RESERVE * needed))
        room = new.new_empty(*new.shape[:2], capacity, new.shape[-1])
        if before:
            room[..., :before, :] = kept
    room[..., before:needed, :] = new
    return room[..., :needed, :], room


def reserving_cache() -> DynamicCache:
    """An empty cache of ``ReservingLayer``."""
    cache = DynamicCache()
    cache.layer_class_to_replicate = ReservingLayer
    return cache
