"""Models on disk: our own folders and the published layouts, read and written. Knows no weights' meaning but names."""

from .layout import Checkpoint, Export, Layout, Parts
from .load import (
    fill,
    find_places,
    find_unused,
    put,
    stored_dtype,
    tie,
    tie_as_configured,
    tied_names,
    unfilled,
    unwrapped,
)
from .native import save_config, write_config
from .opening import LAYOUTS, named_layout, open_checkpoint, read_parts
from .save import own_weights, replace_weights, save_weights
from .tensor_files import StoredTensors, Tensors, TensorSpec
from .tensor_files_write import in_shards, shard_names, write_file, write_index

__all__ = [
    "LAYOUTS",
    "Checkpoint",
    "Export",
    "Layout",
    "Parts",
    "StoredTensors",
    "TensorSpec",
    "Tensors",
    "fill",
    "find_places",
    "find_unused",
    "in_shards",
    "named_layout",
    "open_checkpoint",
    "own_weights",
    "put",
    "read_parts",
    "replace_weights",
    "save_config",
    "save_weights",
    "shard_names",
    "stored_dtype",
    "tie",
    "tie_as_configured",
    "tied_names",
    "unfilled",
    "unwrapped",
    "write_config",
    "write_file",
    "write_index",
]
