"""One layout into another: weights are streamed from file to file, and the result proves itself before it is kept."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoints import (
    Checkpoint,
    Export,
    Layout,
    Parts,
    TensorSpec,
    find_unused,
    named_layout,
    open_checkpoint,
    shard_names,
    unfilled,
    write_file,
    write_index,
)
from ..checkpoints.limits import as_published
from ..checkpoints.native import Native
from ..core.errors import InputError, hint
from ..core.files import new_folder
from ..core.options import Config
from ..interfaces.registry import load_plugins, modalities
from ..model.assembly import assemble
from .verify import prove

VOCABULARY = ("llm.model.model.embed_tokens.weight", "llm.model.lm_head.weight")
"""Native names of the tensors that have a row for each token."""
PARTS_THAT_STAY = ("vision_encoder", "projector", "llm")
"""Refusals that no ``drop`` can mend, since a model without the part would be another one."""


def convert(source: str | Path, target: str | Path, to: str, drop: Sequence[str] = ()) -> float:
    """Write the model ``source`` to the new folder ``target`` in the layout named ``to``.

    source: a folder in any layout, or the name of a repository on the hub.
    drop: features that the layout cannot hold and that may be lost, by the names of its ``refusals``.
    Returns the largest absolute difference between the logits of both on fixed prompts. Raises InputError, and then
    nothing is at ``target``.
    """
    load_plugins()
    layout, checkpoint = named_layout(to), open_checkpoint(source)
    load_plugins(checkpoint.parts.get("plugins", ()))  # files of the user's own that the run was composed with
    with unfilled(), torch.device("meta"):  # shapes alone: the weights never pass through this model
        model = assemble(checkpoint.parts).model
    unused = find_unused(model, checkpoint)
    specs = {native: checkpoint.tensors.specs[name] for native, name in checkpoint.names.items()}
    export = Export(model, with_defaults(checkpoint.parts), specs)
    export = replace(export, parts=reduced(layout, export, drop))
    with new_folder(Path(target)) as folder:
        write_weights(checkpoint, export, layout, unused, folder)
        layout.write_description(export, folder)
        # raises where the export computes something else, and then ``beside`` leaves nothing
        return prove(replace(checkpoint, parts=export.parts), folder, layout)


def with_defaults(parts: Config) -> Parts:
    """The config nodes with all options of the modalities, also those that were left at their defaults."""
    nodes = {kind: {**modalities.node(node["name"]), **node} for kind, node in parts["modality"].items()}
    return {**parts, "modality": nodes}


def reduced(layout: Layout, export: Export, drop: Sequence[str]) -> Parts:
    """The config nodes of ``export`` as ``layout`` can hold them.

    Raises InputError for a feature that would be lost and is not named in ``drop``, and for a name in ``drop`` that
    nothing would be lost of.
    """
    refusals = layout.refusals(export)
    for name in drop:
        if name not in refusals:
            raise InputError(f"there is no {name!r} to drop for {layout.name}{hint(name, refusals)}")
    # a part that does not fit is refused even if it is named in drop
    final = [name for name in refusals if name in PARTS_THAT_STAY]
    open_refusals = final or [name for name in refusals if name not in drop]
    if open_refusals:
        first = open_refusals[0]
        same = ", ".join(name for name in refusals if name != first)
        others = f" (the same holds for {same})" if same else ""
        way_out = "" if final else f"; --drop {','.join(refusals)} writes it without"
        raise InputError(f"{layout.name} cannot hold {first}: {refusals[first]}{others}{way_out}")
    parts = layout.without(export.parts, drop) if drop else dict(export.parts)
    if isinstance(layout, Native):
        return parts
    # whoever reads a published layout resizes as the published models were trained
    return {**parts, "modality": as_published(parts["modality"])}


def write_weights(
    checkpoint: Checkpoint, export: Export, layout: Layout, unused: Collection[str], folder: Path
) -> None:
    """Write the weights of ``checkpoint`` to ``folder`` under the layout's names, tensor after tensor.

    unused: native names of the tensors that the model does not read. Each file of the checkpoint becomes one file,
    except those of which the layout takes nothing; the last one also gets the tensors that the layout adds.
    """
    shards = _renamed_shards(checkpoint, layout, unused)
    num_rows = layout.vocabulary_rows(export)
    vocabulary = [checkpoint.names.get(native) for native in VOCABULARY]
    files: dict[str, dict[str, TensorSpec]] = {}
    for file_name, new_names in zip(shard_names(len(shards)), shards, strict=True):
        added = layout.added_tensors(export) if new_names is shards[-1] else {}
        specs: dict[str, TensorSpec] = {}
        for name, new_name in new_names.items():
            specs[new_name] = checkpoint.tensors.specs[name]
            if name in vocabulary:
                specs[new_name] = _with_rows(specs[new_name], num_rows)
        specs |= added
        write_file(folder / file_name, specs, _renamed_tensors(checkpoint, new_names, specs, added))
        files[file_name] = specs
    if len(files) > 1:
        write_index(folder, files)


def _renamed_shards(checkpoint: Checkpoint, layout: Layout, unused: Collection[str]) -> list[dict[str, str]]:
    """For each file of which the layout takes something: a tensor's name in it -> the name in the layout."""
    new_names: dict[str, str] = {}
    for native, name in checkpoint.names.items():
        new_name = layout.from_native(native, native not in unused)
        if new_name is not None:
            new_names[name] = new_name
    shards: list[dict[str, str]] = []
    for file in checkpoint.tensors.files:
        # the order in the file, so that reading goes straight on
        held = [name for name in checkpoint.tensors.names_in(file) if name in new_names]
        if held:
            shards.append({name: new_names[name] for name in held})
    return shards


def _with_rows(spec: TensorSpec, num_rows: int) -> TensorSpec:
    """The same matrix with at least ``num_rows`` rows."""
    rows, *columns = spec.shape
    return TensorSpec((max(num_rows, rows), *columns), spec.dtype)


def _renamed_tensors(
    checkpoint: Checkpoint,
    new_names: Mapping[str, str],
    specs: Mapping[str, TensorSpec],
    added: Mapping[str, TensorSpec],
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of one file to write, in the order of ``specs``; rows that a tensor lacks are zeros."""
    for name, tensor in checkpoint.tensors.read(list(new_names)):
        new_name = new_names[name]
        missing_rows = specs[new_name].shape[0] - len(tensor) if tensor.ndim else 0
        # pads (left, right, top, bottom): rows below the last one
        yield new_name, F.pad(tensor, (0, 0, 0, missing_rows)) if missing_rows > 0 else tensor
    for new_name, spec in added.items():
        # norms, the only tensors that layouts add, begin with ones as weight and zeros as bias
        yield new_name, torch.full(spec.shape, float(new_name.endswith("weight")), dtype=spec.dtype)
