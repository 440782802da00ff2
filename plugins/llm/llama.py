"""Llama, and what was built on it: Vicuna, TinyLlama, SmolLM2 and others of the same type."""

from interleave import llms

from ..base.hf_models import Options
from .base.causal_lm import CausalLM, build_model, load_chat
from .base.families import FAMILIES

FAMILY = FAMILIES["llama"]


@llms.register("llama")
class Llama(CausalLM):
    """Any Llama of Transformers.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: options of ``LlamaConfig``, for random weights.
    tokenizer: a folder or hub name, where it is not ``path``.
    system: the system turn of a conversation that has none; empty for no turn.
    chat: the format of a turn, ``llama3``, ``chatml``, ``vicuna``, ``phi3``, ``gemma``, or ``template`` for what the
        tokenizer's own chat template says; None takes the format whose tokens the tokenizer knows, Llama 3's first,
        else its template.
    """

    def __init__(
        self,
        path: str | None = None,
        config: Options | None = None,
        tokenizer: str | None = None,
        system: str = FAMILY.system,
        chat: str | None = None,
    ) -> None:
        speaker = load_chat(tokenizer or path, system, FAMILY.chat_formats, chat)
        super().__init__(build_model("llama", FAMILY.classes(), path, config, speaker), speaker)
