"""The public API: all that a plugin or a notebook may import.

A name's module is imported when the name is first used, so that ``import interleave`` loads neither torch nor
Transformers, and a command loads no more than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the same names as in _NAMES_IN, for type checkers and editors
    from .core.errors import BadSample, InputError, hint, one_line
    from .core.files import replacing
    from .core.sample import Media, Message, Note, Preference, Sample
    from .core.types import NEWLINE, Batch, Example, Segments, VisionSpec, Visual
    from .data.annotations import Records, read_json
    from .inference.lm import LM, load
    from .interfaces.dataset import Dataset
    from .interfaces.judge import Judge, JudgedTask, JudgeMessages
    from .interfaces.model_parts import (
        ChatTokenizer,
        LanguageModel,
        ModalityAdapter,
        Projector,
        VisionEncoder,
    )
    from .interfaces.registry import (
        datasets,
        judges,
        llms,
        load_plugins,
        modalities,
        projectors,
        tasks,
        vision_encoders,
    )
    from .interfaces.stored_weights import (
        DeferredParameter,
        StoredTensor,
        deferred,
        empty_parameters,
        real_parameters,
        weights_follow,
    )
    from .interfaces.task import Scored, Task
    from .media.file_kinds import VIDEO_SUFFIXES, counting_order, is_picture, is_video
    from .media.images import image_size, list_frames, load_image, uniform
    from .media.pixels import Picture, Resize
    from .media.videos import load_frames, read_frames
    from .media.views import picture_size, resized
    from .model.document_attention import register_attention
    from .processing.llava_records import preference_from_llava, sample_from_llava
    from .scoring import metrics
    from .scoring.interleave_bench import BENCH, TASK_OF, released_rows

_NAMES_IN = {
    "core.errors": ["BadSample", "InputError", "hint", "one_line"],
    "core.files": ["replacing"],
    "core.sample": ["Media", "Note", "Preference", "Sample", "Message"],
    "core.types": ["NEWLINE", "Batch", "Example", "Segments", "VisionSpec", "Visual"],
    "data.annotations": ["Records", "read_json"],
    "inference.lm": ["LM", "load"],
    "interfaces.dataset": ["Dataset"],
    "interfaces.judge": ["Judge", "JudgedTask", "JudgeMessages"],
    "interfaces.model_parts": [
        "ChatTokenizer",
        "LanguageModel",
        "ModalityAdapter",
        "Projector",
        "VisionEncoder",
    ],
    "interfaces.registry": [
        "datasets",
        "judges",
        "llms",
        "load_plugins",
        "modalities",
        "projectors",
        "tasks",
        "vision_encoders",
    ],
    "interfaces.stored_weights": [
        "DeferredParameter",
        "StoredTensor",
        "deferred",
        "empty_parameters",
        "real_parameters",
        "weights_follow",
    ],
    "interfaces.task": ["Scored", "Task"],
    "media.file_kinds": ["VIDEO_SUFFIXES", "counting_order", "is_picture", "is_video"],
    "media.images": ["image_size", "list_frames", "load_image", "uniform"],
    "media.pixels": ["Picture", "Resize"],
    "media.videos": ["load_frames", "read_frames"],
    "media.views": ["picture_size", "resized"],
    "model.document_attention": ["register_attention"],
    "processing.llava_records": ["preference_from_llava", "sample_from_llava"],
    "scoring.interleave_bench": ["BENCH", "TASK_OF", "released_rows"],
}
"""Module below ``interleave`` -> the public names that it holds."""

_MODULE_OF = {name: module for module, names in _NAMES_IN.items() for name in names}

__all__ = [
    "BENCH",
    "LM",
    "NEWLINE",
    "TASK_OF",
    "VIDEO_SUFFIXES",
    "BadSample",
    "Batch",
    "ChatTokenizer",
    "Dataset",
    "DeferredParameter",
    "Example",
    "InputError",
    "Judge",
    "JudgeMessages",
    "JudgedTask",
    "LanguageModel",
    "Media",
    "Message",
    "ModalityAdapter",
    "Note",
    "Picture",
    "Preference",
    "Projector",
    "Records",
    "Resize",
    "Sample",
    "Scored",
    "Segments",
    "StoredTensor",
    "Task",
    "VisionEncoder",
    "VisionSpec",
    "Visual",
    "counting_order",
    "datasets",
    "deferred",
    "empty_parameters",
    "hint",
    "image_size",
    "is_picture",
    "is_video",
    "judges",
    "list_frames",
    "llms",
    "load",
    "load_frames",
    "load_image",
    "load_plugins",
    "metrics",
    "modalities",
    "one_line",
    "picture_size",
    "preference_from_llava",
    "projectors",
    "read_frames",
    "read_json",
    "real_parameters",
    "register_attention",
    "released_rows",
    "replacing",
    "resized",
    "sample_from_llava",
    "tasks",
    "uniform",
    "vision_encoders",
    "weights_follow",
]


def __getattr__(name: str) -> object:
    """Called by Python for a name that the module does not have yet."""
    if name == "metrics":  # a package, not a name in a module
        return import_module(".scoring.metrics", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'interleave' has no attribute {name!r}")
    public: object = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    return public
