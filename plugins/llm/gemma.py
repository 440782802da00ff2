"""Gemma 1, 2 and 3: the text models, and the text part of Gemma 3's models with pictures."""

from typing import Any

from transformers import Gemma2ForCausalLM, Gemma3ForCausalLM, GemmaForCausalLM

from interleave import llms

from .base.causal_lm import CausalLM, parts, speak

KINDS = {"gemma3_text": Gemma3ForCausalLM, "gemma2": Gemma2ForCausalLM, "gemma": GemmaForCausalLM}


@llms.register("gemma")
class Gemma(CausalLM):
    """Any Gemma 1, 2 or 3 of Transformers. Its format has no system role: the user says what the system would.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: options of ``Gemma3TextConfig`` or, with ``model_type: gemma2`` or ``gemma``, of that family's, for random
    weights. tokenizer: a folder or hub name, where it is not ``path``. system: the system turn of every conversation;
    empty for none.
    """

    def __init__(
        self,
        path: str | None = None,
        config: dict[str, Any] | None = None,
        tokenizer: str | None = None,
        system: str = "",
    ) -> None:
        chat = speak(tokenizer or path, system, ["gemma"], chat="gemma")
        super().__init__(*parts("gemma", KINDS, path, config, chat))
