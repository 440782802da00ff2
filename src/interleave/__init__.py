"""The public API: all that a plugin or a notebook may import. Names are loaded when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import metrics
    from .attention import register as register_attention
    from .attention import segments
    from .benchmark import BENCH, TASK_OF, released_rows
    from .interfaces import (
        Chat,
        Dataset,
        Judge,
        JudgedTask,
        LanguageModel,
        Messages,
        ModalityAdapter,
        Projector,
        Scored,
        Task,
        VisionEncoder,
        weights_follow,
    )
    from .lm import LM, load
    from .media import list_frames, load_image, uniform
    from .records import Records, read_json
    from .registry import datasets, hint, judges, llms, load_plugins, modalities, projectors, tasks, vision_encoders
    from .sample import Media, Preference, Sample, Turn
    from .types import NEWLINE, BadSample, Batch, Example, InputError, Note, VisionSpec, Visual
    from .video import load_frames

_HOMES = {
    "attention": ["register_attention", "segments"],
    "benchmark": ["BENCH", "TASK_OF", "released_rows"],
    "interfaces": ["Chat", "Dataset", "Judge", "JudgedTask", "LanguageModel", "Messages", "ModalityAdapter",
                   "Projector", "Scored", "Task", "VisionEncoder", "weights_follow"],
    "lm": ["LM", "load"],
    "media": ["list_frames", "load_image", "uniform"],
    "records": ["Records", "read_json"],
    "registry": ["datasets", "hint", "judges", "llms", "load_plugins", "modalities", "projectors", "tasks",
                 "vision_encoders"],
    "sample": ["Media", "Preference", "Sample", "Turn"],
    "types": ["NEWLINE", "BadSample", "Batch", "Example", "InputError", "Note", "VisionSpec", "Visual"],
    "video": ["load_frames"],
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BENCH",
    "LM",
    "NEWLINE",
    "TASK_OF",
    "BadSample",
    "Batch",
    "Chat",
    "Dataset",
    "Example",
    "InputError",
    "Judge",
    "JudgedTask",
    "LanguageModel",
    "Media",
    "Messages",
    "ModalityAdapter",
    "Note",
    "Preference",
    "Projector",
    "Records",
    "Sample",
    "Scored",
    "Task",
    "Turn",
    "VisionEncoder",
    "VisionSpec",
    "Visual",
    "datasets",
    "hint",
    "judges",
    "list_frames",
    "llms",
    "load",
    "load_frames",
    "load_image",
    "load_plugins",
    "metrics",
    "modalities",
    "projectors",
    "read_json",
    "register_attention",
    "released_rows",
    "segments",
    "tasks",
    "uniform",
    "vision_encoders",
    "weights_follow",
]


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return import_module(".metrics", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module 'interleave' has no attribute {name!r}")
    home = import_module(f".{_HOME_OF[name]}", __name__)
    return getattr(home, "register" if name == "register_attention" else name)
