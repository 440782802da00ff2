"""Qwen1.5, Qwen2 and Qwen2.5: the language models of LLaVA-NeXT-Interleave."""

from interleave import llms

from ..base.hf_models import Options
from .base.causal_lm import CausalLM, build_model, load_chat
from .base.families import FAMILIES

FAMILY = FAMILIES["qwen2"]


@llms.register("qwen2")
class Qwen2(CausalLM):
    """Any Qwen2 of Transformers, speaking ChatML.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: options of ``Qwen2Config``, for random weights.
    tokenizer: a folder or hub name, where it is not ``path``.
    system: the system turn of a conversation that has none; empty for no turn.
    """

    def __init__(
        self,
        path: str | None = None,
        config: Options | None = None,
        tokenizer: str | None = None,
        system: str = FAMILY.system,
    ) -> None:
        chat = load_chat(tokenizer or path, system, FAMILY.chat_formats, chat="chatml")
        super().__init__(build_model("qwen2", FAMILY.classes(), path, config, chat), chat)
