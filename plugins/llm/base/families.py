"""The families of language models of Transformers: which model types they have, and how they were trained to chat.

The one table for all plugins in this folder. Classes stand in it by name, so that reading it imports no model.
"""

from collections.abc import Mapping
from typing import NamedTuple

import transformers
from transformers import PreTrainedModel


class Family(NamedTuple):
    """Models that share a way to chat.

    class_names: Transformers' model type -> name of its class there; the first is what random weights are where no
        type is given.
    chat_formats: names in ``chat_formats.FORMATS`` that its models were trained with, the preferred one first.
    system: what the system says in a conversation that does not say it; empty for nothing.
    """

    class_names: Mapping[str, str]
    chat_formats: tuple[str, ...]
    system: str = ""

    def classes(self) -> dict[str, type[PreTrainedModel]]:
        """Model type -> class. Imports the modules of these models."""
        return {model_type: getattr(transformers, name) for model_type, name in self.class_names.items()}


FAMILIES: Mapping[str, Family] = {
    "qwen2": Family({"qwen2": "Qwen2ForCausalLM"}, ("chatml",), "You are a helpful assistant."),
    "qwen3": Family({"qwen3": "Qwen3ForCausalLM"}, ("chatml",)),
    # Llama 3; what was built on Llama 1 and 2 speaks as Vicuna does, which only ``chat`` can choose: its tokens <s> and
    # </s> are in most vocabularies and tell nothing
    "llama": Family({"llama": "LlamaForCausalLM"}, ("llama3", "vicuna")),
    "gemma": Family(
        {"gemma3_text": "Gemma3ForCausalLM", "gemma2": "Gemma2ForCausalLM", "gemma": "GemmaForCausalLM"}, ("gemma",)
    ),
    "phi3": Family({"phi3": "Phi3ForCausalLM"}, ("phi3",)),  # without a plugin of its own: ``auto`` builds it
}
OTHER_CHAT_FORMATS = ("chatml",)
"""What a model of no family is taken to speak, unless its tokenizer says otherwise."""


def chat_formats_of(model_type: str) -> tuple[str, ...]:
    """The chat formats of the family that has this model type, the preferred one first."""
    for family in FAMILIES.values():
        if model_type in family.class_names:
            return family.chat_formats
    return OTHER_CHAT_FORMATS
