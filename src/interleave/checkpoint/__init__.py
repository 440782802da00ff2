"""Models on disk: our own folders and the published layouts, read and written. Knows no weights' meaning but names."""

from .layout import Checkpoint, Export, Layout, Parts, save_config, write_config
from .reading import LAYOUTS, fill, named_layout, open_checkpoint, unfilled, unread
from .resuming import WholeFiles, checkpoints_in, last_checkpoint, replacing
from .tensors import Shape, Tensors, write_file, write_index
from .writing import beside, save_weights

__all__ = [
    "LAYOUTS",
    "Checkpoint",
    "Export",
    "Layout",
    "Parts",
    "Shape",
    "Tensors",
    "WholeFiles",
    "beside",
    "checkpoints_in",
    "fill",
    "last_checkpoint",
    "named_layout",
    "open_checkpoint",
    "replacing",
    "save_config",
    "save_weights",
    "unfilled",
    "unread",
    "write_config",
    "write_file",
    "write_index",
]
