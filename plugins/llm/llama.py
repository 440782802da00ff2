"""Llama, and what was built on it: Vicuna, TinyLlama, SmolLM2 and others of the same type."""

from typing import Any

from transformers import LlamaForCausalLM

from interleave import llms

from .base.causal_lm import CausalLM, parts, speak


@llms.register("llama")
class Llama(CausalLM):
    """Any Llama of Transformers.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: options of ``LlamaConfig``, for random weights. tokenizer: a folder or hub name, where it is not ``path``.
    system: the system turn of every conversation; empty for none. chat: the format of a turn, ``llama3``, ``chatml``,
    ``vicuna``, ``phi3``, ``gemma``, or ``template`` for what the tokenizer's own chat template says; None takes the
    format whose tokens the tokenizer knows, Llama 3's first, else its template.
    """

    def __init__(
        self,
        path: str | None = None,
        config: dict[str, Any] | None = None,
        tokenizer: str | None = None,
        system: str = "",
        chat: str | None = None,
    ) -> None:
        words = speak(tokenizer or path, system, ["llama3"], chat)
        super().__init__(*parts("llama", {"llama": LlamaForCausalLM}, path, config, words))
