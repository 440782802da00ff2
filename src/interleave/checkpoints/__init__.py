"""Models on disk: our own folders and the published layouts, read and written. Knows no weights' meaning but names."""

from .layout import Checkpoint, Export, Layout, Parts
from .load import WRAPPER, fill, find_places, find_unused, put, tie, tie_as_configured, tied_names, unfilled
from .native import save_config, write_config
from .opening import LAYOUTS, named_layout, open_checkpoint, read_parts
from .save import save_weights
from .tensor_files import StoredTensors, Tensors, TensorSpec, write_file, write_index

__all__ = [
    "LAYOUTS",
    "WRAPPER",
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
    "named_layout",
    "open_checkpoint",
    "put",
    "read_parts",
    "save_config",
    "save_weights",
    "tie",
    "tie_as_configured",
    "tied_names",
    "unfilled",
    "write_config",
    "write_file",
    "write_index",
]
