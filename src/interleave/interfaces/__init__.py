"""The contracts that a plugin fulfils, one for each registry."""

from .data import Dataset
from .model import Chat, LanguageModel, ModalityAdapter, Projector, VisionEncoder, later_weights, weights_follow
from .tasks import Judge, JudgedTask, Messages, Scored, Task

__all__ = [
    "Chat",
    "Dataset",
    "Judge",
    "JudgedTask",
    "LanguageModel",
    "Messages",
    "ModalityAdapter",
    "Projector",
    "Scored",
    "Task",
    "VisionEncoder",
    "later_weights",
    "weights_follow",
]
