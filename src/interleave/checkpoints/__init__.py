"""Models on disk: our own folders and the published layouts, read and written. Knows no weights' meaning but names."""

from .layout import Checkpoint, Export, Layout, Parts
from .load import fill, find_unused, unfilled
from .native import save_config, write_config
from .opening import LAYOUTS, named_layout, open_checkpoint
from .save import save_weights
from .tensor_files import Tensors, TensorSpec, write_file, write_index

__all__ = [
    "LAYOUTS",
    "Checkpoint",
    "Export",
    "Layout",
    "Parts",
    "TensorSpec",
    "Tensors",
    "fill",
    "find_unused",
    "named_layout",
    "open_checkpoint",
    "save_config",
    "save_weights",
    "unfilled",
    "write_config",
    "write_file",
    "write_index",
]
