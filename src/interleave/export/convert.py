"""One layout into another: weights are streamed from file to file, and the result proves itself before it is kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoints import (
    Checkpoint,
    Export,
    Layout,
    Shape,
    named_layout,
    open_checkpoint,
    unfilled,
    unread,
    write_file,
    write_index,
)
from ..core.errors import InputError, hint
from ..core.files import beside
from ..interfaces.registry import load_plugins, modalities
from ..model.assembly import assemble
from .verify import prove

VOCABULARY = ("llm.model.model.embed_tokens.weight", "llm.model.lm_head.weight")


def convert(source: str | Path, target: str | Path, to: str, drop: Sequence[str] = ()) -> float:
    """Write ``source``, of any layout, to the new folder ``target`` in the layout ``to``.

    drop: features that the layout cannot hold and that may be lost. Returns the largest difference between the logits
    of both on fixed prompts. Raises InputError, and then nothing is at ``target``.
    """
    load_plugins()
    layout, checkpoint = named_layout(to), open_checkpoint(source)
    load_plugins(checkpoint.parts.get("plugins", ()))
    with unfilled(), torch.device("meta"):
        model = assemble(checkpoint.parts).model
    unused = unread(model, checkpoint)
    shapes = {native: checkpoint.tensors.shapes[name] for native, name in checkpoint.names.items()}
    export = Export(model, complete(checkpoint.parts), shapes)
    export = replace(export, parts=reduced(layout, export, drop))
    with beside(Path(target)) as folder:
        write_weights(checkpoint, export, layout, set(unused), folder)
        layout.describe(export, folder)
        return prove(replace(checkpoint, parts=export.parts), folder, layout)


def complete(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Config nodes with the defaults that they leave out."""
    kinds = {kind: {**modalities.node(node["name"]), **node} for kind, node in parts["modality"].items()}
    return {**parts, "modality": kinds}


def reduced(layout: Layout, export: Export, drop: Sequence[str]) -> dict[str, Any]:
    """The config nodes as the layout can hold them. Raises InputError for what would be lost and was not named."""
    refused = layout.refuses(export)
    for name in drop:
        if name not in refused:
            raise InputError(f"there is no {name!r} to drop for {layout.name}{hint(name, refused)}")
    fixed = [name for name in refused if name in ("vision_encoder", "projector", "llm")]
    left = fixed or [name for name in refused if name not in drop]
    if left:
        others = f" (the same holds for {', '.join(n for n in refused if n != left[0])})" if len(refused) > 1 else ""
        way = "" if fixed else f"; --drop {','.join(refused)} writes it without"
        raise InputError(f"{layout.name} cannot hold {left[0]}: {refused[left[0]]}{others}{way}")
    return layout.without(export.parts, drop) if drop else dict(export.parts)


def write_weights(checkpoint: Checkpoint, export: Export, layout: Layout, unused: set[str], folder: Path) -> None:
    """File after file, tensor after tensor, under the layout's names."""
    targets = {
        name: target
        for native, name in checkpoint.names.items()
        if (target := layout.from_native(native, native not in unused)) is not None
    }
    held = [[n for n in checkpoint.tensors.of(file) if n in targets] for file in checkpoint.tensors.files]
    written = [{name: targets[name] for name in names} for names in held if names]
    added, files = layout.added(export), {}
    for number, names in enumerate(written, start=1):
        last = number == len(written)
        single = (
            "model.safetensors" if last and number == 1 else f"model-{number:05d}-of-{len(written):05d}.safetensors"
        )
        rows = {names[checkpoint.names[n]]: layout.rows(export) for n in VOCABULARY if checkpoint.names.get(n) in names}
        shapes = {names[name]: _grown(checkpoint.tensors.shapes[name], rows.get(names[name], 0)) for name in names}
        extra = added if last else {}
        write_file(folder / single, {**shapes, **extra}, _stream(checkpoint, names, rows, extra))
        files[single] = {**shapes, **extra}
    if len(files) > 1:
        write_index(folder, files)


def _grown(shape: Shape, rows: int) -> Shape:
    return Shape((max(rows, shape.shape[0]), *shape.shape[1:]), shape.dtype) if rows else shape


def _stream(
    checkpoint: Checkpoint, names: Mapping[str, str], rows: Mapping[str, int], added: Mapping[str, Shape]
) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in checkpoint.tensors.read(list(names)):
        missing = rows.get(names[name], 0) - len(tensor) if tensor.ndim else 0
        yield names[name], F.pad(tensor, (0, 0, 0, missing)) if missing > 0 else tensor
    for name, shape in added.items():
        yield name, torch.full(shape.shape, float(name.endswith("weight")), dtype=shape.dtype)
