"""Which layout a folder is in, and what it holds: the only place that lists the layouts and asks the hub."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from ..core.errors import InputError, hint
from ..core.options import Config
from .layout import Checkpoint, Layout, Parts
from .llava_hf import Llava
from .llava_onevision_hf import LlavaOnevision
from .llava_original import Original
from .native import CONFIG, Native
from .tensor_files import Tensors

LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in (Native(), Original(), Llava(), LlavaOnevision())}
"""In the order in which a folder is tried."""
BUFFERS = ("position_ids", "rotary_emb.inv_freq")
"""Ends of names that old versions of Transformers wrote; they are computed, not weights."""


def named_layout(name: str) -> Layout:
    """The layout of that name. Raises InputError that lists the names."""
    if name not in LAYOUTS:
        raise InputError(f"no layout named {name!r}{hint(name, LAYOUTS)}")
    return LAYOUTS[name]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Find out what the model at ``path`` consists of, without reading its weights.

    path: a folder, or the name of a repository on the hub, which is downloaded where it is not yet. Raises InputError
    for a folder in no known layout, and for what is wrong with its config, its files or the names of its tensors.
    """
    layout, folder, parts = _described(path)
    tensors = Tensors(folder)
    names: dict[str, str] = {}
    for name, file in tensors.file_of.items():
        if name.endswith(BUFFERS):
            continue
        native = layout.to_native(name)
        if native is None:
            raise InputError(f"{file} holds {name}, which is no tensor of the {layout.name} layout")
        names[native] = name
    return Checkpoint(layout, folder, parts, tensors, names)


def read_parts(path: str | Path) -> Parts:
    """The config nodes of the model at ``path``, whose weight files need not be there. Raises InputError."""
    _, _, parts = _described(path)
    return parts


def _described(path: str | Path) -> tuple[Layout, Path, Parts]:
    folder = _local_folder(path)
    config = _read_config(folder)
    layout = _layout_of(folder, config)
    return layout, folder, layout.parts(folder, config)


def _layout_of(folder: Path, config: Config) -> Layout:
    for layout in LAYOUTS.values():
        if layout.recognises(folder, config):
            return layout
    if not config:
        raise InputError(f"{folder} is no model: it has neither {CONFIG} nor config.json; give a run's folder")
    known = "llava_qwen (original), llava, llava_onevision"
    raise InputError(f"{folder / 'config.json'}: model_type {config.get('model_type')!r} is unknown; known: {known}")


def _local_folder(path: str | Path) -> Path:
    """``path`` itself where it is a folder, else the local copy of the hub's repository of that name."""
    if Path(path).is_dir():
        return Path(path)
    # owner/name, as the hub has it; anything else, such as a longer path, is a folder that is not there
    is_repository_name = re.fullmatch(r"[\w.-]+/[\w.-]+", str(path))
    if not is_repository_name:
        raise InputError(f"{path} does not exist")
    try:
        return Path(snapshot_download(str(path)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]  # the first line says it; the others are advice
        raise InputError(f"{path} is no folder, and the hub does not give it: {reason}") from None


def _read_config(folder: Path) -> Config:
    """The content of ``config.json``, empty where there is none. Raises InputError where it is no JSON object."""
    path = folder / "config.json"
    if not path.is_file():
        return {}  # a run's folder has config.yaml instead
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise InputError(f"{path} holds no settings by name")
    return config
