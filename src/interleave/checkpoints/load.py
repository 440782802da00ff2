"""A folder of any layout -> config nodes and weights."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from ..core.errors import InputError, hint
from ..interfaces.model_parts import later_weights
from .layout import CONFIG, Checkpoint, Layout, Native
from .llava_hf import Llava
from .llava_onevision_hf import LlavaOnevision
from .llava_original import Original
from .tensor_files import Tensors

logger = logging.getLogger(__name__)

LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in (Native(), Original(), Llava(), LlavaOnevision())}
BUFFERS = ("position_ids", "rotary_emb.inv_freq")
"""Written by old code, and no weights."""
ABOVE = re.compile(r"vision_encoder\.(layers\.\d+|post_layernorm|layernorm|head)\.")
"""What a vision tower has above the layer that is read."""
ADAPTERS = "modality."
ABSENT = "llm.newline"
"""Layouts without a separator do not hold it; it begins at zero."""


def named_layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise InputError(f"no layout named {name!r}{hint(name, LAYOUTS)}")
    return LAYOUTS[name]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """A folder, or the name of a repository on the hub. No weight is read yet. Raises InputError."""
    folder = _local(path)
    config = _config(folder)
    found = [layout for layout in LAYOUTS.values() if layout.recognises(folder, config)]
    if not found:
        known = "llava_qwen (original), llava, llava_onevision"
        if not config:
            raise InputError(f"{folder} is no model: it has neither {CONFIG} nor config.json; give a run's folder")
        raise InputError(
            f"{folder / 'config.json'}: model_type {config.get('model_type')!r} is unknown; known: {known}"
        )
    layout = found[0]
    parts, tensors = layout.parts(folder, config), Tensors(folder)
    names: dict[str, str] = {}
    for name, file in tensors.file_of.items():
        if name.endswith(BUFFERS):
            continue
        native = layout.to_native(name)
        if native is None:
            raise InputError(f"{file} holds {name}, which is no tensor of the {layout.name} layout")
        names[native] = name
    return Checkpoint(layout, folder, parts, tensors, names)


def _local(path: str | Path) -> Path:
    if Path(path).is_dir():
        return Path(path)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)):
        raise InputError(f"{path} does not exist")
    try:
        return Path(snapshot_download(str(path)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} is no folder, and the hub does not give it: {reason}") from None


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise InputError(f"{path} holds no settings by name")
    return config


@contextmanager
def unfilled() -> Iterator[None]:
    """Modules built inside draw no initial weights: their memory is reserved and never touched."""
    with later_weights(), no_init_weights():
        yield


def fill(model: nn.Module, checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> dict[str, str]:
    """Map the checkpoint's weights into ``model``, which was built ``unfilled``; tied weights stay tied.

    dtype: of the weights; None keeps that of the language model's embeddings. Returns the tensors that the model does
    not read, native name -> the file's. Raises InputError naming file, tensor and expectation.
    """
    unused, kind = unread(model, checkpoint), dtype or _dtype(checkpoint)
    begun = _begin(model, checkpoint, kind)
    wanted, second = model.state_dict(), aliases(model)
    _check({name: t for name, t in wanted.items() if not name.startswith(begun)}, set(second), unused, checkpoint)
    native = {foreign: name for name, foreign in checkpoint.names.items() if name not in unused}
    state = {native[name]: t.to(kind) for name, t in checkpoint.tensors.read(list(native))}
    if ABSENT in wanted and ABSENT not in state:
        state[ABSENT] = torch.zeros(wanted[ABSENT].shape, dtype=kind)
    model.load_state_dict(state, strict=False, assign=True)
    for name, owner in second.items():
        where, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(where), leaf, model.get_parameter(owner))
    model.mean = model.mean.to(kind)
    for part in model.children():
        tried: Any = getattr(part, "filled", None)
        if tried:
            tried()
    return unused


def _begin(model: nn.Module, checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[str, ...]:
    """Draw the weights of adapters of which the checkpoint holds nothing: one that was made without them can be given
    to training. Returns where they lie, as beginnings of names.
    """
    fresh = tuple(f"{place}." for place in _adapters(model) if not _any(checkpoint, place))
    for place in fresh:
        adapter = model.get_submodule(place[:-1]).to(dtype)
        reset_parameters(adapter)
        logger.warning("%s holds no weights of %s: they begin overwrite", checkpoint.folder, place[:-1])
    return fresh


def _adapters(model: nn.Module) -> list[str]:
    """Names of the adapters that own weights."""
    return sorted({".".join(name.split(".")[:2]) for name, _ in model.named_parameters() if name.startswith(ADAPTERS)})


def reset_parameters(module: nn.Module) -> None:
    """Initial weights, by the method that torch's layers have for it. Raises InputError for a part without one."""
    reset: Any = getattr(module, "reset_parameters", None)
    if reset:
        reset()
    elif next(module.parameters(recurse=False), None) is not None:
        raise InputError(f"{type(module).__name__} owns weights and has no reset_parameters() to begin them by")
    else:
        for child in module.children():
            reset_parameters(child)


def unread(model: nn.Module, checkpoint: Checkpoint) -> dict[str, str]:
    """Tensors that the model has no use for: layers and norms above the one that is read, the copy of a tied head,
    those of an adapter that owns none in this model.

    Ties the weights of ``model``, which ``unfilled`` leaves undone. Raises InputError for any other that the model does
    not have.
    """
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            module.tie_weights()
    wanted, second = model.state_dict(), aliases(model)
    owning = tuple(f"{place}." for place in _adapters(model))
    left = {}
    for native, foreign in checkpoint.names.items():
        idle = native.startswith(ADAPTERS) and not native.startswith(owning)
        if native in second or (native not in wanted and (idle or ABOVE.match(native))):
            left[native] = foreign
        elif native not in wanted:
            file = checkpoint.tensors.file_of[foreign]
            raise InputError(f"{file} holds {foreign}, which the model of its config does not have")
    return left


def _check(wanted: Mapping[str, Tensor], second: set[str], unused: Mapping[str, str], checkpoint: Checkpoint) -> None:
    for native, foreign in checkpoint.names.items():
        if native in unused:
            continue
        found, expected = checkpoint.tensors.shapes[foreign].shape, tuple(wanted[native].shape)
        if found != expected:
            file = checkpoint.tensors.file_of[foreign]
            raise InputError(f"{file} holds {foreign} of shape {found} where the config asks for {expected}")
    elsewhere = tuple(f"{group}." for group, node in checkpoint.parts.items() if _has_path(node))
    needed = [n for n in wanted if n not in second and n not in checkpoint.names and n != ABSENT]
    missing = [n for n in needed if not n.startswith(elsewhere)] if elsewhere else needed
    if missing:
        name = checkpoint.layout.from_native(missing[0], used=True)
        part = missing[0].partition(".")[0]
        way = f"; it holds nothing of the {part}: give {part}.path" if not _any(checkpoint, part) else ""
        raise InputError(f"{checkpoint.folder} lacks {name} and {len(missing) - 1} more of {len(wanted)} tensors{way}")


def _any(checkpoint: Checkpoint, part: str) -> bool:
    return any(name.startswith(f"{part}.") for name in checkpoint.names)


def _has_path(node: Any) -> bool:
    return isinstance(node, Mapping) and bool(node.get("path"))


def _dtype(checkpoint: Checkpoint) -> torch.dtype:
    shapes = {native: checkpoint.tensors.shapes[name] for native, name in checkpoint.names.items()}
    text = [shape for native, shape in shapes.items() if native.startswith("llm.")]
    return (text or list(shapes.values()))[0].dtype


def aliases(model: nn.Module) -> dict[str, str]:
    """Second names of tied weights, and the names of their owners."""
    plain = "_checkpoint_wrapped_module."
    owners = {id(p): name.replace(plain, "") for name, p in model.named_parameters()}
    every = ((name.replace(plain, ""), p) for name, p in model.named_parameters(remove_duplicate=False))
    return {name: owners[id(p)] for name, p in every if name != owners[id(p)]}
