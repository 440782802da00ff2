"""Models on disk: our own folders and the published layouts, read and written. Knows no weights' meaning but names."""

from .layout import Checkpoint, Export, Layout, Parts, save_config, write_config
from .load import LAYOUTS, fill, named_layout, open_checkpoint, unfilled, unread
from .save import save_weights
from .tensor_files import Shape, Tensors, write_file, write_index

__all__ = [
    "LAYOUTS",
    "Checkpoint",
    "Export",
    "Layout",
    "Parts",
    "Shape",
    "Tensors",
    "fill",
    "named_layout",
    "open_checkpoint",
    "save_config",
    "save_weights",
    "unfilled",
    "unread",
    "write_config",
    "write_file",
    "write_index",
]
