"""Sample -> Example: the only place where text becomes tokens and where the loss mask is decided."""

import copy
from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from ..core.errors import BadSample, InputError, hint
from ..core.sample import Media, Message, Sample
from ..core.types import IGNORE, Example, Visual
from ..interfaces.model_parts import ChatTokenizer, ModalityAdapter

Labels = Literal["assistant", "published"]
"""What is learned.

``assistant``: what the assistant says, and the tokens that end it.
``published``: what the released models were trained with: the assistant's whole turns, and every token of the turn
    format wherever it stands (docs/decisions.md).
"""


def render(
    sample: Sample,
    adapters: Mapping[str, ModalityAdapter],
    chat: ChatTokenizer,
    reply: bool = False,
    labels: Labels = "assistant",
) -> Example:
    """One conversation as tokens, labels and visuals.

    sample: the visuals stand where they will be read.
    adapters: by the name of the modality.
    chat: the language model's tokenizer and turn format. Its own system turn begins a conversation without one.
    reply: write the header of one more turn of the assistant, which generation then goes on from.
    labels: what is learned.

    Raises BadSample, with the sample's name in front, where media cannot be used, and InputError for media of a
    modality that the model does not have.
    """
    writer = _Writer(adapters, chat, labels)
    try:
        writer.begin(sample.messages)
        for message in sample.messages:
            writer.write_message(_single_visual_first(message) if labels == "published" else message)
    except BadSample as bad:
        raise BadSample(bad.reason, f"{sample.name}: {bad.message}") from None
    if reply:
        writer.write_format(chat.open("assistant"))
    return writer.example(sample.name)


class GrowingPrompt:
    """The prompts of a conversation that goes on: each turn is rendered once.

    What was written of earlier messages is kept and gone on from, down to the text that waits to be encoded, so that a
    prompt is what ``render`` makes of the whole conversation.
    """

    def __init__(self, adapters: Mapping[str, ModalityAdapter], chat: ChatTokenizer) -> None:
        """As for ``render``."""
        self.adapters, self.chat = adapters, chat
        self._kept = _Writer(adapters, chat, "assistant")
        self._written: list[Message] = []  # what ``_kept`` has written; copies, which nobody changes

    def render(self, messages: Sequence[Message]) -> Example:
        """As ``render`` with ``reply``. All messages but the last are kept for the next call. Raises as ``render``.

        Messages may be others than in the call before: then nothing is kept of it. Media are told apart by identity.
        """
        *before, last = messages
        pairs = zip(self._written, before, strict=False)
        if self._written and len(self._written) <= len(before) and all(_same(one, other) for one, other in pairs):
            kept, num_kept = self._kept.copy(), len(self._written)
        else:
            kept, num_kept = _Writer(self.adapters, self.chat, "assistant"), 0
            kept.begin(messages)
        for message in before[num_kept:]:
            kept.write_message(message)
        self._kept, self._written = kept, [Message(m.role, tuple(m.content)) for m in before]
        writer = kept.copy()  # the last message may come to be replaced by another
        writer.write_message(last)
        writer.write_format(self.chat.open("assistant"))
        return writer.example("the conversation")


def _same(one: Message, other: Message) -> bool:
    """Whether two messages say the same. Media are the same where they show the same object."""
    if one.role != other.role or len(one.content) != len(other.content):
        return False
    for a, b in zip(one.content, other.content, strict=True):
        same_media = isinstance(a, Media) and isinstance(b, Media) and a.kind == b.kind and a.data is b.data
        if not same_media and (isinstance(a, Media) or a != b):  # pictures are never compared by their pixels
            return False
    return True


def _single_visual_first(message: Message) -> Message:
    """A message's only visual before its text, on a line of its own, as the public training code of LLaVA puts it."""
    media = [part for part in message.content if isinstance(part, Media)]
    if len(media) != 1 or message.content[0] is media[0]:
        return message
    text = "".join(part for part in message.content if isinstance(part, str)).strip()
    return Message(message.role, [media[0], f"\n{text}"] if text else [media[0]])


class _Writer:
    """Writes a conversation piece by piece. Ids and labels grow together, so that nothing is ever searched for.

    Text is not encoded at once but waits until something ends it. So a turn's header and its first words are encoded
    as the one text that they are: a tokenizer may merge across their border. A change of what is learned ends a text,
    too, so that the prompt of a question is a prefix of the same conversation in training.

    In every method ``learn`` says whether the tokens get labels.
    """

    def __init__(self, adapters: Mapping[str, ModalityAdapter], chat: ChatTokenizer, labels: Labels) -> None:
        self.adapters = adapters
        self.chat = chat
        self.published = labels == "published"
        self.ids: list[int] = []
        self.labels: list[int] = []  # as long as ``ids``
        self.visual_positions: list[int] = []  # where in ``ids`` features will stand
        self.visuals: list[Visual] = []
        self.spans: list[tuple[int, int]] = []  # [start, end) in ``ids``, one for each visual
        self.answers: list[int] = []  # where in ``ids`` the assistant's messages begin
        self.pending_text = ""  # waits to be encoded
        self.pending_learn = False

    def begin(self, messages: Sequence[Message]) -> None:
        """Write what stands before the first of ``messages``: the format's beginning and its own system turn."""
        self.write_format(self.chat.begin)
        if self.chat.system and (not messages or messages[0].role != "system"):
            self.write_message(Message("system", [self.chat.system]))

    def copy(self) -> "_Writer":
        """A writer that goes on from the same state by itself."""
        copied = copy.copy(self)
        for name in ("ids", "labels", "visual_positions", "visuals", "spans", "answers"):
            setattr(copied, name, list(getattr(self, name)))
        return copied

    def write_message(self, message: Message) -> None:
        """Write a whole turn: header, text and media, and what closes it."""
        learn = message.role == "assistant"
        header = self.chat.open(message.role)
        if learn:
            # behind the text that waits and the header, as if each were encoded by itself
            self.answers.append(self._num_tokens() + self._num_format_tokens(header))
        self.write_format(header, learn and self.published)  # the published models learned their own header, too
        for part in message.content:
            if isinstance(part, Media):
                self.write_media(part)
            else:
                self.write_text(part, learn)
        self.write_format(self.chat.close(message.role), learn)

    def write_media(self, media: Media) -> None:
        """Write what stands for a piece of media: the titles and features of its layout."""
        if media.kind not in self.adapters:
            raise InputError(f"the model has no modality {media.kind!r}{hint(media.kind, self.adapters)}")
        visual = self.adapters[media.kind].prepare(media.data)
        self.visuals.append(visual)
        start = self._num_tokens()
        for piece in visual.layout:
            if isinstance(piece, int):  # that many features
                self.write_features(piece)
            else:
                self.write_format(piece)
        self.spans.append((start, self._num_tokens()))

    def write_format(self, text: str, learn: bool = False) -> None:
        """Write text of the turn format, in which special tokens are special."""
        for piece in self.chat.pieces(text):
            if isinstance(piece, str):
                self.write_text(piece, learn)
            else:  # the id of a special token
                self.write_tokens([piece], learn)

    def write_text(self, text: str, learn: bool) -> None:
        """Append plain text to the text that waits, unless one of them is learned and the other is not."""
        if learn != self.pending_learn:
            self.encode_pending()
        self.pending_text += text
        self.pending_learn = learn

    def write_features(self, count: int) -> None:
        """Leave ``count`` positions for features; a padding token stands there, and nothing is learned."""
        self.encode_pending()
        start = len(self.ids)
        self.visual_positions.extend(range(start, start + count))
        self.write_tokens([self.chat.pad_id] * count, learn=False)

    def write_tokens(self, ids: Sequence[int], learn: bool) -> None:
        """Append tokens, after the text that waits."""
        self.encode_pending()
        self.ids.extend(ids)
        self.labels.extend(ids if learn else [IGNORE] * len(ids))

    def encode_pending(self) -> None:
        """Turn the text that waits into tokens."""
        text = self.pending_text
        self.pending_text = ""
        if text:
            self.write_tokens(self.chat.encode(text, special=False), self.pending_learn)

    def example(self, name: str) -> Example:
        """Everything that was written, as tensors."""
        self.encode_pending()
        ids = torch.tensor(self.ids, dtype=torch.long)  # (T,)
        labels = torch.tensor(self.labels, dtype=torch.long)  # (T,)
        visual_positions = torch.tensor(self.visual_positions, dtype=torch.long)  # (n,)
        if self.published:
            of_format = torch.isin(ids, torch.tensor(sorted(self.chat.format_ids)))  # (T,) bool
            of_format[visual_positions] = False  # the padding token there may be one of the format
            labels = torch.where(of_format, ids, labels)
        return Example(
            ids, labels, visual_positions, self.visuals, name, spans=tuple(self.spans), answers=tuple(self.answers)
        )

    def _num_tokens(self) -> int:
        """How many tokens there are so far, with those of the text that waits."""
        if not self.pending_text:
            return len(self.ids)
        return len(self.ids) + len(self.chat.encode(self.pending_text, special=False))

    def _num_format_tokens(self, text: str) -> int:
        """How many tokens a text of the turn format has by itself."""
        count = 0
        for piece in self.chat.pieces(text):
            count += len(self.chat.encode(piece, special=False)) if isinstance(piece, str) else 1
        return count
