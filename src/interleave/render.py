"""Sample -> Example: the only place where text becomes tokens and where the loss mask is decided."""

from collections.abc import Mapping

import torch

from .interfaces import Chat, ModalityAdapter
from .registry import hint
from .types import IGNORE, BadSample, Example, InputError, Media, Sample, Turn, Visual


def render(sample: Sample, adapters: Mapping[str, ModalityAdapter], chat: Chat, reply: bool = False) -> Example:
    """Train on what the assistant says and on how it stops. ``reply`` leaves its next turn open, for generation."""
    writer = _Writer(adapters, chat)
    try:
        if chat.system and (not sample.turns or sample.turns[0].role != "system"):
            writer.turn(Turn("system", [chat.system]))
        for turn in sample.turns:
            writer.turn(turn)
    except BadSample as bad:
        raise BadSample(bad.reason, f"{sample.name}: {bad.message}") from None
    if reply:
        writer.add(chat.open("assistant"))
    return writer.example(sample.name)


class _Writer:
    """ids and labels grow together, piece by piece, so that nothing is ever searched for."""

    def __init__(self, adapters: Mapping[str, ModalityAdapter], chat: Chat) -> None:
        self.adapters, self.chat = adapters, chat
        self.ids: list[int] = []
        self.labels: list[int] = []
        self.slots: list[int] = []
        self.visuals: list[Visual] = []

    def turn(self, turn: Turn) -> None:
        learn = turn.role == "assistant"
        self.add(self.chat.open(turn.role))
        for part in turn.content:
            if isinstance(part, Media):
                self.show(part)
            else:
                self.add(part, learn, special=False)
        self.add(self.chat.close(turn.role), learn)

    def show(self, media: Media) -> None:
        if media.kind not in self.adapters:
            raise InputError(f"the model has no modality {media.kind!r}{hint(media.kind, self.adapters)}")
        visual = self.adapters[media.kind].prepare(media.data)
        self.visuals.append(visual)
        for piece in visual.layout:
            self.add(piece)

    def add(self, piece: str | int, learn: bool = False, special: bool = True) -> None:
        if isinstance(piece, int):
            self.slots.extend(range(len(self.ids), len(self.ids) + piece))
            tokens = [self.chat.pad_id] * piece
        else:
            tokens = self.chat.encode(piece, special)
        self.ids.extend(tokens)
        self.labels.extend(tokens if learn else [IGNORE] * len(tokens))

    def example(self, name: str) -> Example:
        ids, labels, slots = (torch.tensor(x, dtype=torch.long) for x in (self.ids, self.labels, self.slots))
        return Example(ids, labels, slots, self.visuals, name)
