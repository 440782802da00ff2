"""Qwen3, dense."""

from typing import Any

from transformers import Qwen3ForCausalLM

from interleave import llms

from .base.causal_lm import CausalLM, parts, speak


@llms.register("qwen3")
class Qwen3(CausalLM):
    """Any dense Qwen3 of Transformers, speaking ChatML; replies are not made to think first.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: options of ``Qwen3Config``, for random weights. tokenizer: a folder or hub name, where it is not ``path``.
    system: the system turn of every conversation; empty for none.
    """

    def __init__(
        self,
        path: str | None = None,
        config: dict[str, Any] | None = None,
        tokenizer: str | None = None,
        system: str = "",
    ) -> None:
        chat = speak(tokenizer or path, system, ["chatml"], chat="chatml")
        super().__init__(*parts("qwen3", {"qwen3": Qwen3ForCausalLM}, path, config, chat))
