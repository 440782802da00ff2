"""``interleave data preview``: packed rows as the model sees them, on one page without outside requests."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from jinja2 import Environment, PackageLoader
from PIL import Image
from torch import Tensor

from ..core.files import replacing
from ..core.options import Config
from ..core.types import Example, Visual
from ..data.build import build_data
from ..data.example_source import ExampleSource
from ..data.ledger import Ledger
from ..interfaces.model_parts import ChatTokenizer
from ..model.assembly import Assembly

SIDE = 144
"""Side of a view on the page, in pixels."""
SHOWN_VIEWS = 16
"""Views of one visual that are shown, at most."""
SMALL = 64
"""Views up to this side, in pixels, are PNG files, which lose nothing; others JPEG."""
LETTER = 4
"""Tokens that one letter may take at most: a byte each."""

Token = tuple[str, bool, bool]
"""(text, whether it is learned, whether it belongs to the turn format)"""


@dataclass(frozen=True)
class TextPart:
    """Text between visuals. gap: it is nothing but white space between two visuals."""

    text: list[Token]
    gap: bool


@dataclass(frozen=True)
class VisualOnPage:
    """What the page says of a visual.

    kind: its modality.
    views: how many it has.
    layout: what stands for it in the text, shortened.
    pictures: views as addresses of the form ``data:``, at most ``SHOWN_VIEWS``.
    more: views that are not shown.
    size: of a view in pixels, as text.
    """

    kind: str
    views: int
    layout: str
    pictures: list[str]
    more: int
    size: str


@dataclass(frozen=True)
class VisualPart:
    """A visual in its place. tokens: that stand for it. position: of the first of them in the document."""

    visual: VisualOnPage
    tokens: int
    position: int


@dataclass(frozen=True)
class DocumentOnPage:
    """One example of a row.

    start: its first token's place in the row.
    width: its share of the row in percent.
    learned: tokens that are learned.
    notes: what was repaired or shortened.
    parts: its text and its visuals in reading order.
    """

    name: str
    start: int
    tokens: int
    width: float
    learned: int
    notes: list[str]
    parts: list[TextPart | VisualPart]


@dataclass(frozen=True)
class RowOnPage:
    """A packed row. real: tokens that are no padding. share: of the row in percent. views: of all its documents."""

    documents: list[DocumentOnPage]
    real: int
    share: float
    views: int


def preview(config: Config, assembly: Assembly, source: ExampleSource, out: Path, rows: int) -> Path:
    """Write the first rows that training would see into ``preview.html`` in the folder ``out``; returns its path.

    config, assembly: as composed and built for training.
    source: the data of the config.
    rows: how many.
    """
    data = build_data(config, assembly, Ledger())  # a ledger in memory: the run's file is not touched
    loader, chat = data.train, assembly.model.llm.tokenizer
    length = loader.budget.sequence_length
    # rows of several batches one after another
    packed = islice(chain.from_iterable(loader.packed()), rows)
    shown = [_row(row, length, chat) for row in packed]
    environment = Environment(loader=PackageLoader("interleave.dataset_tools", ""), autoescape=True, trim_blocks=True)
    html = environment.get_template("preview.html.jinja").render(
        rows=shown, length=length, labels=source.rendering.labels, summary=loader.ledger.summary(), side=SIDE
    )
    path = out / "preview.html"
    with replacing(path) as part:
        part.write_text(html, encoding="utf-8")
    return path


def _row(examples: Sequence[Example], length: int, chat: ChatTokenizer) -> RowOnPage:
    """length: tokens of a row."""
    documents: list[DocumentOnPage] = []
    start = 0  # of the next document within the row, in tokens
    for example in examples:
        documents.append(_document(example, start, length, chat))
        start += len(example.input_ids)
    views = sum(example.views for example in examples)
    return RowOnPage(documents, real=start, share=100 * start / length, views=views)


def _document(example: Example, start: int, length: int, chat: ChatTokenizer) -> DocumentOnPage:
    tokens = len(example.input_ids)
    return DocumentOnPage(
        name=example.name,
        start=start,
        tokens=tokens,
        width=100 * tokens / length,
        learned=int((example.labels >= 0).sum()),  # IGNORE is below 0
        notes=[note.message for note in example.notes],
        parts=list(_parts(example, chat)),
    )


def _parts(example: Example, chat: ChatTokenizer) -> Iterator[TextPart | VisualPart]:
    """Text and visuals in the order in which they are read; text also where there is none between two visuals."""
    at = 0
    for visual, (start, end) in zip(example.visuals, example.spans, strict=True):
        # a span includes titles and newlines of the visual, so that the text between spans is the message's
        between = _tokens(example, at, start, chat)
        yield TextPart(between, gap=at > 0 and all(text.isspace() for text, _, _ in between))
        yield VisualPart(_visual(visual), tokens=end - start, position=start)
        at = end
    yield TextPart(_tokens(example, at, len(example.input_ids), chat), gap=False)


def _tokens(example: Example, start: int, end: int, chat: ChatTokenizer) -> list[Token]:
    """The tokens from ``start`` to ``end``. Where one is only a part of a letter, those that make it are one entry."""
    shown: list[Token] = []
    waiting: list[int] = []  # tokens of a letter that is not complete
    for token, label in zip(example.input_ids[start:end].tolist(), example.labels[start:end].tolist(), strict=True):
        waiting.append(token)
        text = chat.decode(waiting)
        if text.endswith("\N{REPLACEMENT CHARACTER}") and len(waiting) < LETTER:
            continue
        # decoding leaves special tokens out, so that no text is left of them
        shown.append((text or chat.name(token), label >= 0, not text))
        waiting = []
    return shown


def _visual(visual: Visual) -> VisualOnPage:
    layout = [str(piece) for piece in visual.layout]
    if len(layout) > 12:  # the layout of a video repeats itself
        layout = [*layout[:8], "…", *layout[-2:]]
    height, width = visual.pixel_values.shape[-2:]
    return VisualOnPage(
        kind=visual.kind,
        views=len(visual.pixel_values),
        layout=" ".join(layout),
        pictures=[_picture(view) for view in visual.pixel_values[:SHOWN_VIEWS]],
        more=max(0, len(visual.pixel_values) - SHOWN_VIEWS),
        size=f"{width} x {height}",
    )


def _picture(view: Tensor) -> str:
    """A view (3, S, S) uint8, as the model gets it before it normalises, as an address of the form ``data:``."""
    image = Image.fromarray(view.permute(1, 2, 0).numpy())  # (S, S, 3)
    if max(image.size) > 2 * SIDE:  # twice the size on the page, for screens with two pixels where others have one
        image.thumbnail((2 * SIDE, 2 * SIDE))
    buffer = io.BytesIO()
    small = max(image.size) <= SMALL
    if small:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=85)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
