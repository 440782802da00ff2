"""Qwen1.5, Qwen2 and Qwen2.5: the language models of LLaVA-NeXT-Interleave."""

from typing import Any

from transformers import Qwen2ForCausalLM

from interleave import llms

from .base.causal_lm import CausalLM, parts, speak


@llms.register("qwen2")
class Qwen2(CausalLM):
    """Any Qwen2 of Transformers, speaking ChatML.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: options of ``Qwen2Config``, for random weights. tokenizer: a folder or hub name, where it is not ``path``.
    system: the system turn of every conversation; empty for none.
    """

    def __init__(
        self,
        path: str | None = None,
        config: dict[str, Any] | None = None,
        tokenizer: str | None = None,
        system: str = "You are a helpful assistant.",
    ) -> None:
        chat = speak(tokenizer or path, system, ["chatml"], chat="chatml")
        super().__init__(*parts("qwen2", {"qwen2": Qwen2ForCausalLM}, path, config, chat))
