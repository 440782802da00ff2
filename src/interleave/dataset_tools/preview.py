"""``interleave data preview``: packed rows as the model sees them, on one page without outside requests."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from PIL import Image
from torch import Tensor

from ..core.types import Example, Visual
from ..data.build import build_data
from ..data.example_source import Source
from ..data.ledger import Ledger
from ..interfaces.model_parts import ChatTokenizer
from ..model.assembly import Assembly

SIDE = 144
"""Of a view on the page, in pixels."""
SHOWN = 16
"""Views of one visual at most."""


def preview(config: Mapping[str, Any], assembly: Assembly, source: Source, out: Path, rows: int) -> Path:
    """The first rows that training would see, in ``out/preview.html``."""
    data = build_data(config, assembly, Ledger())
    loader, chat = data.train, assembly.model.llm.tokenizer
    length = loader.budget.sequence_length
    packed = islice(chain.from_iterable(loader.packed()), rows)
    shown = [_row(row, length, chat) for row in packed]
    environment = Environment(loader=PackageLoader("interleave.dataset_tools", ""), autoescape=True, trim_blocks=True)
    page = environment.get_template("preview.html.jinja").render(
        rows=shown, length=length, labels=source.rendering.labels, summary=loader.ledger.summary(), side=SIDE
    )
    out.mkdir(parents=True, exist_ok=True)
    path = out / "preview.html"
    path.write_text(page, encoding="utf-8")
    return path


def _row(examples: Sequence[Example], length: int, chat: ChatTokenizer) -> dict[str, Any]:
    real = sum(len(e.input_ids) for e in examples)
    documents, start = [], 0
    for example in examples:
        documents.append(
            {
                "name": example.name,
                "start": start,
                "tokens": len(example.input_ids),
                "width": 100 * len(example.input_ids) / length,
                "learned": int((example.labels >= 0).sum()),
                "notes": [note.message for note in example.notes],
                "parts": list(_parts(example, chat)),
            }
        )
        start += len(example.input_ids)
    views = sum(e.views for e in examples)
    return {"documents": documents, "real": real, "share": 100 * real / length, "views": views}


def _parts(example: Example, chat: ChatTokenizer) -> Iterator[dict[str, Any]]:
    """Text and visuals in the order in which they are read. Text is a list of (token, learned, special)."""
    at = 0
    for visual, (start, end) in zip(example.visuals, example.spans, strict=True):
        between = _tokens(example, at, start, chat)
        yield {"text": between, "gap": at > 0 and all(token.isspace() for token, *_ in between)}
        yield {"visual": _visual(visual), "tokens": end - start, "position": start}
        at = end
    yield {"text": _tokens(example, at, len(example.input_ids), chat)}


def _tokens(example: Example, start: int, end: int, chat: ChatTokenizer) -> list[tuple[str, bool, bool]]:
    """A token may be part of a letter: then several stand together until they make one."""
    shown, waiting = [], list[int]()
    for token, label in zip(example.input_ids[start:end].tolist(), example.labels[start:end].tolist(), strict=True):
        waiting.append(token)
        text = chat.decode(waiting)
        if text.endswith("\N{REPLACEMENT CHARACTER}") and len(waiting) < 4:
            continue
        shown.append((text or chat.name(token), label >= 0, not text))
        waiting = []
    return shown


def _visual(visual: Visual) -> dict[str, Any]:
    layout = [str(n) if isinstance(n, int) else n for n in visual.layout]
    told = " ".join(layout) if len(layout) <= 12 else f"{' '.join(layout[:8])} … {' '.join(layout[-2:])}"
    return {
        "kind": visual.kind,
        "views": len(visual.pixel_values),
        "layout": told,
        "pictures": [_picture(view) for view in visual.pixel_values[:SHOWN]],
        "more": max(0, len(visual.pixel_values) - SHOWN),
        "size": f"{visual.pixel_values.shape[-1]} x {visual.pixel_values.shape[-2]}",
    }


def _picture(view: Tensor) -> str:
    """(3, S, S) uint8, as the model gets it, before its mean and deviation -> a data address."""
    image = Image.fromarray(view.permute(1, 2, 0).numpy())
    if max(image.size) > 2 * SIDE:
        image.thumbnail((2 * SIDE, 2 * SIDE))
    buffer = io.BytesIO()
    small = max(image.size) <= 64
    image.save(buffer, "PNG") if small else image.save(buffer, "JPEG", quality=85)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
