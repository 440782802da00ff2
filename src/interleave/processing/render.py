"""Sample -> Example: the only place where text becomes tokens and where the loss mask is decided."""

from collections.abc import Mapping
from typing import Literal

import torch

from ..core.errors import BadSample, InputError, hint
from ..core.sample import Media, Message, Sample
from ..core.types import IGNORE, Example, Visual
from ..interfaces.model_parts import ChatTokenizer, ModalityAdapter

Labels = Literal["assistant", "published"]
"""What is learned. ``assistant``: what the assistant says and how it stops. ``published``: what the released models
were trained with, the assistant's whole turns and every token of the turn format anywhere (docs/decisions.md)."""


def render(
    sample: Sample,
    adapters: Mapping[str, ModalityAdapter],
    chat: ChatTokenizer,
    reply: bool = False,
    labels: Labels = "assistant",
) -> Example:
    """One conversation as tokens. ``reply`` leaves the assistant's next turn open, for generation."""
    writer = _Writer(adapters, chat, labels)
    try:
        writer.template(chat.begin)
        if chat.system and (not sample.messages or sample.messages[0].role != "system"):
            writer.turn(Message("system", [chat.system]))
        for turn in sample.messages:
            writer.turn(_in_front(turn) if labels == "published" else turn)
    except BadSample as bad:
        raise BadSample(bad.reason, f"{sample.name}: {bad.message}") from None
    if reply:
        writer.template(chat.open("assistant"))
    return writer.example(sample.name)


def _in_front(turn: Message) -> Message:
    """A turn's only visual before its text, on a line of its own, as the public training code puts it."""
    media = [part for part in turn.content if isinstance(part, Media)]
    if len(media) != 1 or turn.content[0] is media[0]:
        return turn
    text = "".join(part for part in turn.content if isinstance(part, str)).strip()
    return Message(turn.role, [media[0], f"\n{text}"] if text else [media[0]])


class _Writer:
    """ids and labels grow together, piece by piece, so that nothing is ever searched for.

    Text waits until something ends it, so that a turn's header and its first words are encoded as the one text they
    are: a tokenizer may merge across their border. A change of what is learned ends a text, too, so that the prompt of
    a question is a prefix of the same conversation in training.
    """

    def __init__(self, adapters: Mapping[str, ModalityAdapter], chat: ChatTokenizer, labels: Labels) -> None:
        self.adapters, self.chat, self.published = adapters, chat, labels == "published"
        self.ids: list[int] = []
        self.labels: list[int] = []
        self.slots: list[int] = []
        self.visuals: list[Visual] = []
        self.spans: list[tuple[int, int]] = []
        self.answers: list[int] = []
        self.waiting, self.learn_waiting = "", False

    def turn(self, turn: Message) -> None:
        learn = turn.role == "assistant"
        header = self.chat.open(turn.role)
        if learn:
            self.answers.append(self.length_so_far() + self.length(header))
        self.template(header, learn and self.published)
        for part in turn.content:
            if isinstance(part, Media):
                self.show(part)
            else:
                self.text(part, learn)
        self.template(self.chat.close(turn.role), learn)

    def show(self, media: Media) -> None:
        if media.kind not in self.adapters:
            raise InputError(f"the model has no modality {media.kind!r}{hint(media.kind, self.adapters)}")
        visual = self.adapters[media.kind].prepare(media.data)
        self.visuals.append(visual)
        before = self.length_so_far()
        for piece in visual.layout:
            if isinstance(piece, int):
                self.features(piece)
            else:
                self.template(piece)
        self.spans.append((before, self.length_so_far()))

    def length_so_far(self) -> int:
        """With what waits."""
        return len(self.ids) + len(self.chat.encode(self.waiting, special=False) if self.waiting else ())

    def length(self, template: str) -> int:
        """Tokens of a text of the format by itself."""
        pieces = self.chat.pieces(template)
        return sum(len(self.chat.encode(p, special=False)) if isinstance(p, str) else 1 for p in pieces)

    def template(self, text: str, learn: bool = False) -> None:
        """Text of the format, in which special tokens are special."""
        for piece in self.chat.pieces(text):
            if isinstance(piece, str):
                self.text(piece, learn)
            else:
                self.tokens([piece], learn)

    def text(self, text: str, learn: bool) -> None:
        if learn != self.learn_waiting:
            self.flush()
        self.waiting, self.learn_waiting = self.waiting + text, learn

    def features(self, count: int) -> None:
        self.flush()
        self.slots.extend(range(len(self.ids), len(self.ids) + count))
        self.tokens([self.chat.pad_id] * count, False)

    def tokens(self, ids: list[int], learn: bool) -> None:
        self.flush()
        self.ids.extend(ids)
        self.labels.extend(ids if learn else [IGNORE] * len(ids))

    def flush(self) -> None:
        text, self.waiting = self.waiting, ""
        if text:
            self.tokens(self.chat.encode(text, special=False), self.learn_waiting)

    def example(self, name: str) -> Example:
        self.flush()
        ids, labels, slots = (torch.tensor(x, dtype=torch.long) for x in (self.ids, self.labels, self.slots))
        if self.published:
            of_format = torch.isin(ids, torch.tensor(sorted(self.chat.format_ids)))
            of_format[slots] = False
            labels = torch.where(of_format, ids, labels)
        return Example(ids, labels, slots, self.visuals, name, spans=tuple(self.spans), answers=tuple(self.answers))
